"""The live charts: plain Bokeh, one class a plot, fed by streaming. No HoloViews here: it costs thirty times more."""

from console.live.active_users import ActiveUsers
from console.live.chart import Chart
from console.live.errors_per_minute import ErrorsPerMinute
from console.live.orders_per_minute import OrdersPerMinute
from console.live.revenue_per_minute import RevenuePerMinute

CHARTS: tuple[type[Chart], ...] = (RevenuePerMinute, OrdersPerMinute, ErrorsPerMinute, ActiveUsers)

__all__ = ["CHARTS", "ActiveUsers", "Chart", "ErrorsPerMinute", "OrdersPerMinute", "RevenuePerMinute"]
