// What Arrow's Flight SQL JDBC driver finds at the gateway of the URL args[0]: a line for each, name TAB answer.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;

public class JdbcClient {
    static final String SCHEMA = "nessie_minio_catalog.ecommerce_db";
    static final String ORDERS = SCHEMA + ".orders_processed";

    interface Ask {
        Object answer() throws Exception;
    }

    interface Bind {
        void values(PreparedStatement statement) throws SQLException;
    }

    static void ask(String name, Ask ask) {
        String answer;
        try {
            answer = String.valueOf(ask.answer());
        } catch (Exception error) {
            answer = "error: " + error.getMessage();
        }
        System.out.println(name + "\t" + answer.replace("\n", " "));
    }

    static List<String> column(ResultSet rows, int number) throws SQLException {
        List<String> found = new ArrayList<>();
        try (ResultSet closing = rows) {
            while (closing.next()) {
                found.add(closing.getString(number));
            }
        }
        return found;
    }

    static List<String> query(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return column(statement.executeQuery(sql), 1);
        }
    }

    static List<String> prepared(Connection connection, String sql, Bind... binds) throws SQLException {
        List<String> found = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (Bind bind : binds) {
                bind.values(statement);
                found.addAll(column(statement.executeQuery(), 1));
                found.add(";");
            }
        }
        return found;
    }

    static String everyTable(Connection connection) throws SQLException {
        List<String> found = new ArrayList<>();
        String[] types = {"TABLE"};
        for (String name : column(connection.getMetaData().getTables(null, SCHEMA, "%", types), 3)) {
            found.add(name + "=" + query(connection, "SELECT * FROM " + SCHEMA + "." + name).size());
        }
        return String.join(",", found);
    }

    static String resultColumns(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT order_id, price, order_ts FROM " + ORDERS)) {
            ResultSetMetaData told = rows.getMetaData();
            return told.getColumnTypeName(1) + " " + told.getPrecision(2) + " " + told.getScale(2) + " "
                    + told.getColumnTypeName(3);
        }
    }

    static long cancelled(Connection connection) throws Exception {
        // Planned at once, and at it for hours.
        List<String> values = new ArrayList<>();
        for (int number = 0; number < 100; number++) {
            values.add("(" + number + ")");
        }
        List<String> tables = new ArrayList<>();
        List<String> terms = new ArrayList<>();
        for (int number = 0; number < 5; number++) {
            tables.add("(VALUES " + String.join(", ", values) + ") AS v" + number + "(n)");
            terms.add("v" + number + ".n");
        }
        String sql = "SELECT COUNT(*) AS n FROM " + String.join(", ", tables) + " WHERE "
                + String.join(" + ", terms) + " < 0";
        long[] at = {0};
        try (Statement statement = connection.createStatement()) {
            Thread cancelling = new Thread(() -> {
                try {
                    Thread.sleep(4000);
                    at[0] = System.currentTimeMillis();
                    statement.cancel();
                } catch (Exception error) {
                    throw new RuntimeException(error);
                }
            });
            cancelling.start();
            try {
                column(statement.executeQuery(sql), 1);
            } catch (SQLException error) {
                return System.currentTimeMillis() - at[0];
            }
        }
        throw new IllegalStateException("it was not cancelled");
    }

    public static void main(String[] args) throws Exception {
        String url = args[0];
        Connection connection = DriverManager.getConnection(url);
        DatabaseMetaData told = connection.getMetaData();
        ask("product", told::getDatabaseProductName);
        ask("catalogs", () -> column(told.getCatalogs(), 1));
        ask("schemas", () -> column(told.getSchemas(), 1));
        ask("table types", () -> column(told.getTableTypes(), 1));
        ask("columns", () -> column(told.getColumns(null, SCHEMA, "orders\\_processed", "%"), 4));
        ask("keys", () -> column(told.getPrimaryKeys(null, SCHEMA, "orders_processed"), 1));
        ask("converts", () -> told.supportsConvert(Types.INTEGER, Types.VARCHAR));
        ask("quote", told::getIdentifierQuoteString);
        ask("functions", told::getNumericFunctions);
        ask("every table", () -> everyTable(connection));
        ask("result columns", () -> resultColumns(connection));
        ask("parameters", () -> prepared(connection,
                "SELECT order_id FROM " + ORDERS + " WHERE user_id = ? AND quantity >= ? AND price > ? AND order_ts > ?"
                        + " AND source_offset >= ?",
                statement -> {
                    statement.setString(1, "grace's");
                    statement.setInt(2, 1);
                    statement.setBigDecimal(3, new BigDecimal("1.5000"));
                    statement.setTimestamp(4, Timestamp.valueOf("2020-01-01 00:00:00"));
                    statement.setLong(5, 0);
                },
                statement -> statement.setString(1, "x' OR '1'='1")));
        ask("dates", () -> prepared(connection, "SELECT CAST(? AS DATE) AS d, CAST(? AS DOUBLE) AS f, CAST(? AS BOOLEAN) AS b",
                statement -> {
                    statement.setDate(1, Date.valueOf("2026-01-02"));
                    statement.setDouble(2, 1.5);
                    statement.setBoolean(3, true);
                }));
        ask("null and count", () -> prepared(connection,
                "SELECT order_id FROM " + ORDERS + " WHERE COALESCE(?, user_id) = user_id ORDER BY order_id LIMIT ?",
                statement -> {
                    statement.setNull(1, Types.VARCHAR);
                    statement.setLong(2, 2);
                }));
        ask("bad SQL", () -> query(connection, "SELEC 1"));
        ask("insert", () -> query(connection, "INSERT INTO " + ORDERS + " VALUES (1)"));
        ask("use", () -> query(connection, "USE " + SCHEMA));
        ask("after use", () -> query(connection, "SELECT COUNT(*) AS n FROM orders_processed"));
        ask("cancel", () -> cancelled(connection));
        ask("bad password", () -> DriverManager.getConnection(url.replace("dremio123", "guess")));
        ask("schema", () -> {
            try (Connection other = DriverManager.getConnection(url + "&schema=" + SCHEMA)) {
                return query(other, "SELECT COUNT(*) AS n FROM orders_processed");
            }
        });
        ask("after all", () -> query(connection, "SELECT 1 AS n"));
        // The driver's threads would keep the process.
        System.exit(0);
    }
}
