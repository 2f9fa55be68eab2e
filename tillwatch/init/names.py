"""What shops call things: by topic and field the names of columns, as patterns over small words, the likelier first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_CENTS = r"( in)?( (cents?|minor|minor units?|pence|pennies|rappen|öre|ore))?$"
_NO = r" ?(id|no|nr|num|number|nummer|key|ref|reference|code)$"
_TIME = (
    r"(order|purchase|invoice|sale|sales|transaction|placed|ordered|bought|click|event|refund|refunded|error) ?"
    r"(time ?stamp|date ?time|date|time|day|ts|at|on)( (utc|ms|us|s|time))*$",
    r"(^| )(created|placed|ordered|purchased|occurred|logged) ?(at|on|time|date|ts|time ?stamp)?( (utc|ms|us|s))*$",
    r"(^| )(bestell|rechnungs|auftrags|kauf) ?(datum|zeit)$",
    r"(^| )(time ?stamp|date ?time|date|datum|fecha|time|zeit|ts|at|when|day)( (utc|ms|us|s))*$",
    r"(^| )(processed|paid|modified|updated) ?(at|on|time|date)?( (utc|ms|us|s))*$",
)
_USER = (
    rf"(customer|client|user|buyer|cust|shopper|visitor|member|kunden?|kunde){_NO}",
    r"(^| )(customer|client|user|buyer|shopper|member)( e ?mail)?$",
    r"(^| )e ?mail( (address|billing))?$",
    r"(customer|client|user|buyer|kunden?|bikeshop|shop) ?name$",
    r"(^| )(kunde|account id|account|client[ea])$",
)
_ORDER_ID = (
    rf"order{_NO}",
    rf"(invoice|receipt|purchase|sale|basket|checkout|bestell|auftrags|rechnungs|beleg|bon){_NO}",
    rf"(^| )(transaction|trans|payment){_NO}",
    r"(^| )(order|invoice|bestellung|auftrag|rechnung|commande|pedido)$",
    r"^(name|number|no|nr|reference|ref|uuid|key|id)$",
)
_MONEY = (
    rf"^(order |grand )?total( (price|amount))?{_CENTS}",
    rf"(order|grand|invoice|basket|cart|checkout|payment) ?(total|amount|value|sum)( (base|purchased|amount))?{_CENTS}",
    rf"(line|row|item|lineitem|extended) ?(total|amount|sum|value){_CENTS}",
    rf"(^| )total( ?(price|amount|value|paid|sum|cost|revenue))?{_CENTS}",
    rf"(^| )(gesamt|rechnungs|bestell)?(betrag|summe|wert|gesamt|gesamtpreis){_CENTS}",
    rf"(^| )(amount|sum|value|revenue|sales|gross|paid|montant|importe|turnover){_CENTS}",
    rf"(^| )sub ?total( price)?{_CENTS}",
    r"^cents$",
)
_CURRENCY = (r"(^| )currency( (code|iso))?$", r"(^| )(währung|waehrung|devise|moneda|divisa|ccy)$")

NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "orders_topic": {
        "order_id": _ORDER_ID,
        "order_time": _TIME,
        "order_total": _MONEY,
        "price": (
            rf"(unit|item|each|piece|single|lineitem|product|net|sale|selling) ?(price|amount|cost){_CENTS}",
            rf"(einzel|stück|stueck)preis{_CENTS}",
            rf"(^| )(price|preis|prix|precio)( ?(each|per unit|unit))?{_CENTS}",
            rf"(^| )(each|rate){_CENTS}",
        ),
        "user_id": _USER,
        "status": (
            r"order ?(status|state)$",
            r"^(status|state|zustand|statut|estado)$",
            r"financial status$",
            r"(fulfil?lment|delivery|payment) ?(status|state)$",
            r"(^| )status$",
        ),
        "product_id": (
            rf"(product|article|artikel|item|stock|variant|lineitem|prod|goods|model){_NO}",
            r"(^| )(sku|asin|ean|gtin|upc|isbn|stock ?code)$",
            r"(^| )(product|article|artikel|item|model|produit|producto|lineitem)( ?(name|title))?$",
            r"(^| )(description|goods|bezeichnung)$",
        ),
        "quantity": (
            r"^(quantity|qty|menge|anzahl)( refund)?$",
            r"(^| )(quantity|qty|quantité|quantite|cantidad|menge|anzahl|stück|stueck|pieces|pcs)( ?(ordered|sold))?$",
            r"(^| )(units|count|n|number of items|items? count)$",
        ),
        "currency": _CURRENCY,
    },
    "clicks_topic": {
        "click_id": (rf"(click|event|hit|view|page ?view|message){_NO}", r"^(id|uuid)$"),
        "click_time": _TIME,
        "user_id": (*_USER, rf"(anonymous|session|device){_NO}"),
        "url": (r"(^| )(url|uri|href|page ?url)$", r"(^| )(page ?path|path|page|link|location|request)$"),
        "device_type": (r"(^| )(device|platform)( ?(type|category|class))?$", r"form ?factor$"),
    },
    "errors_topic": {
        "error_id": (rf"(error|event|log|exception|issue|message|trace|request){_NO}", r"^(id|uuid)$"),
        "error_time": _TIME,
        "service_name": (
            r"(^| )(service|app|application|component|module)( ?(name|id))?$",
            r"^(name|logger)$",
            r"(^| )(logger|container|source|system|host|host ?name)( ?name)?$",
        ),
        "error_message": (r"(error|log) ?message$", r"(^| )(message|msg|text|error|exception|description|detail)$"),
        "severity": (r"(^| )(severity|level|sev|lvl|log ?level|priority)( ?(name|text))?$",),
    },
    "refunds_topic": {
        "refund_id": (rf"(refund|return|credit ?note|credit ?memo|credit){_NO}", r"^(number|id|uuid)$"),
        "refund_time": _TIME,
        "amount": (rf"(refund|refunded|returned) ?(amount|total|sum|value)?{_CENTS}", *_MONEY),
        "order_id": _ORDER_ID[:-1],
        "currency": _CURRENCY,
    },
}
"""Fields of the topics that ship, in the order in which columns are given to them."""

OF_LINES = ("product_id", "quantity", "price")
"""Fields of orders that the elements of a list may say."""

OF_ELEMENTS: Mapping[str, Sequence[str]] = {
    "product_id": (r"^(id|code|name|title)$",),
    "order_total": (rf"^(total|amount|sum){_CENTS}",),
}
"""More names that hold in the elements of a list."""

NEVER = {
    "order_total": r"\b(tax|taxes|discount|shipping|freight|refund|refunded|balance|due|fee|tip|vat|weight|compare)\b",
    "price": r"\b(compare|tax|discount|shipping|freight|total|subtotal|gesamt)\b",
    "status": r"\b(billing|shipping|address|country)\b(?! status)",
    "user_id": r"\b(type|accepts|group|class)\b",
    "product_id": r"\b(type|category)\b|\border (item|line)\b",
    "order_id": r"\b(item|line|customer|user|parent)\b",
}
"""Names that are something else, whatever they end with."""

EVENT_ID = (rf"^(event|message|msg){_NO}",)
CLOCK = (r"^(time|clock|hour|uhrzeit|zeit|hora|heure)$",)
"""The time of day, where another column has the day."""
LINE = (rf"(line|lineitem|line item|item|position|pos|order line|order item|row){_NO}", r"(order ?line|position|^pos)$")
"""What tells the lines of an order apart."""

# Words of each of our values, apart by blanks; the first of ours that holds one is taken.
STATUSES: Mapping[str, str] = {
    "PROCESSING": "processing paid confirmed packed picking approved accepted invoiced progress bezahlt partially"
    " preparing ready payé pagado captured",
    "CREATED": "created new open pending placed received authorized authorised unpaid draft submitted ordered offen neu"
    " bestellt awaiting",
    "CANCELLED": "cancelled canceled void voided refunded returned rejected failed declined expired aborted storniert"
    " annulé annulée cancelado chargeback unavailable",
    "SHIPPED": "shipped sent dispatched transit versandt expédié enviado despatched outbound",
    "DELIVERED": "delivered complete completed done closed finished fulfilled geliefert zugestellt livré entregado"
    " abgeschlossen",
}
SEVERITIES: Mapping[str, str] = {
    "FATAL": "fatal critical crit emergency emerg alert panic 60",
    "ERROR": "error err severe failure 50",
    "WARN": "warn warning 40",
    "INFO": "info information informational notice 30",
    "DEBUG": "debug trace verbose 20 10",
}
DEVICES: Mapping[str, str] = {
    "mobile": "mobile phone smartphone ios android iphone app",
    "tablet": "tablet ipad",
    "desktop": "desktop web pc computer laptop browser",
}


def rank(words: str, patterns: Sequence[str], never: str = "") -> int | None:
    """How likely a column of this name is meant, 0 the most; None where it is not."""
    if never and re.search(never, words):
        return None
    return next((place for place, pattern in enumerate(patterns) if re.search(pattern, words)), None)


def ours(value: str, table: Mapping[str, str]) -> str | None:
    """Which of our values another one says."""
    words = set(re.findall(r"[^\W_]+", value.lower()))
    return next((name for name, known in table.items() if words & set(known.split())), None)
