-- The tables of a small shop, and what change data capture needs of them.

CREATE TABLE customers (
    customer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status text NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'paid', 'shipped', 'delivered', 'cancelled')),
    total numeric(12, 2) NOT NULL CHECK (total >= 0),
    note text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE order_items (
    order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
    line int NOT NULL,
    product text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    price numeric(12, 2) NOT NULL CHECK (price >= 0),
    PRIMARY KEY (order_id, line)
);

-- An update or a delete carries the whole row as it was: without this nobody can tell that it is the status that changed.
ALTER TABLE orders REPLICA IDENTITY FULL;

-- What the connector may see: the changes of these tables, and their rows for the snapshot. It owns and changes nothing.
CREATE PUBLICATION tillwatch FOR TABLE orders;

CREATE ROLE tillwatch LOGIN REPLICATION;

GRANT SELECT ON orders TO tillwatch;
