// What arrow-go's Flight SQL client finds at the gateway on port os.Args[1]: a line each, name and answer.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	schema = "nessie_minio_catalog.ecommerce_db"
	orders = schema + ".orders_processed"
)

type door struct {
	client *flightsql.Client
	ctx    context.Context
}

func open(password string) (door, error) {
	client, err := flightsql.NewClient("localhost:"+os.Args[1], nil, nil,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return door{}, err
	}
	ctx, err := client.Client.AuthenticateBasicToken(context.Background(), "dremio", password)
	return door{client, ctx}, err
}

// column is the texts of one column of all that an answer holds.
func (d door) column(info *flight.FlightInfo, err error, name string) ([]string, error) {
	if err != nil {
		return nil, err
	}
	texts := []string{}
	for _, endpoint := range info.Endpoint {
		reader, err := d.client.DoGet(d.ctx, endpoint.Ticket)
		if err != nil {
			return nil, err
		}
		for reader.Next() {
			place := reader.Schema().FieldIndices(name)[0]
			values := reader.RecordBatch().Column(place)
			for row := range values.Len() {
				texts = append(texts, values.ValueStr(row))
			}
		}
		if err := reader.Err(); err != nil {
			return nil, err
		}
		reader.Release()
	}
	return texts, nil
}

func (d door) ask(sql, name string) ([]string, error) {
	info, err := d.client.Execute(d.ctx, sql)
	return d.column(info, err, name)
}

func (d door) tables() ([]string, error) {
	pattern := schema
	info, err := d.client.GetTables(d.ctx, &flightsql.GetTablesOpts{
		DbSchemaFilterPattern: &pattern, TableTypes: []string{"TABLE"},
	})
	return d.column(info, err, "table_name")
}

func (d door) counts() ([]string, error) {
	names, err := d.tables()
	if err != nil {
		return nil, err
	}
	counts := []string{}
	for _, name := range names {
		found, err := d.ask("SELECT COUNT(*) AS n FROM "+schema+"."+name, "n")
		if err != nil {
			return nil, err
		}
		counts = append(counts, name+"="+found[0])
	}
	return counts, nil
}

func (d door) parameters() ([]string, error) {
	statement, err := d.client.Prepare(d.ctx, "SELECT order_id FROM "+orders+" WHERE user_id = ? AND quantity >= ?")
	if err != nil {
		return nil, err
	}
	defer statement.Close(d.ctx)
	fields := []arrow.Field{{Name: "0", Type: arrow.BinaryTypes.String}, {Name: "1", Type: arrow.PrimitiveTypes.Int32}}
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer builder.Release()
	builder.Field(0).(*array.StringBuilder).Append("grace's")
	builder.Field(1).(*array.Int32Builder).Append(1)
	statement.SetParameters(builder.NewRecordBatch())
	info, err := statement.Execute(d.ctx)
	return d.column(info, err, "order_id")
}

// cancelled is how long a call goes on after its context has ended, in milliseconds, with what came before.
func (d door) cancelled() ([]string, error) {
	many := []string{}
	for _, letter := range "abcdefghijklmnop" {
		many = append(many, orders+" AS "+string(letter))
	}
	ctx, cancel := context.WithCancel(d.ctx)
	info, err := d.client.Execute(ctx, "SELECT a.order_id FROM "+strings.Join(many, ", "))
	if err != nil {
		return nil, err
	}
	reader, err := d.client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	if !reader.Next() {
		return nil, reader.Err()
	}
	begun := time.Now()
	cancel()
	for reader.Next() {
	}
	if _, err := d.ask("SELECT 1 AS n", "n"); err != nil {
		return nil, err
	}
	return []string{fmt.Sprint(time.Since(begun).Milliseconds())}, nil
}

func main() {
	d, err := open("dremio123")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tell := func(name string, found []string, err error) {
		said := strings.Join(found, ",")
		if err != nil {
			said = "error: " + err.Error()
		}
		fmt.Printf("%s\t%s\n", name, strings.NewReplacer("\n", " ", "\t", " ").Replace(said))
	}
	asked := func(name string) func([]string, error) {
		return func(found []string, err error) { tell(name, found, err) }
	}
	asked("select")(d.ask("SELECT order_id FROM "+orders+" ORDER BY order_id", "order_id"))
	asked("every table")(d.counts())
	asked("parameters")(d.parameters())
	info, err := d.client.GetDBSchemas(d.ctx, &flightsql.GetDBSchemasOpts{})
	asked("schemas")(d.column(info, err, "db_schema_name"))
	info, err = d.client.GetTableTypes(d.ctx)
	asked("table types")(d.column(info, err, "table_type"))
	asked("bad SQL")(d.ask("SELEC 1", "n"))
	asked("bad column")(d.ask("SELECT nope FROM "+orders, "nope"))
	affected, err := d.client.ExecuteUpdate(d.ctx, "DELETE FROM "+orders)
	tell("delete", []string{fmt.Sprint(affected)}, err)
	_, err = open("guess")
	tell("bad password", nil, err)
	asked("cancel")(d.cancelled())
	asked("after all")(d.ask("SELECT 1 AS n", "n"))
}
