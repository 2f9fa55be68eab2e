# Run by the postgres image once, after the tables are made: the connector's role signs in with the same secret.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=password="$(cat "$POSTGRES_PASSWORD_FILE")" <<'SQL'
ALTER ROLE tillwatch PASSWORD :'password';
SQL
