package analytics

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/api.md anew")

const referencePage = "../../docs/api.md"

// docs/api.md is made from the table of resources and the types of their answers:
//
//	go test ./modules/analytics -run TestReference -update
func TestReference(t *testing.T) {
	comments := readComments(t, ".", "store", "correlate")
	var b bytes.Buffer
	b.WriteString(referenceHead)
	for _, group := range []struct{ title, prefix string }{
		{"The whole", ""}, {"Analytics", "analytics/"}, {"The balancer and flows", "lbpro/ flows/"}, {"Prometheus", promPrefix},
	} {
		fmt.Fprintf(&b, "\n## %s\n", group.title)
		for _, res := range resources {
			if inGroup(res.path, group.prefix) {
				writeResource(&b, comments, res)
			}
		}
	}
	if *update {
		if err := os.WriteFile(referencePage, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/api.md is out of date: go test ./modules/analytics -run TestReference -update")
	}
	for _, res := range resources {
		if res.about == "" || !bytes.Contains(b.Bytes(), []byte("`/api/"+res.path+"`")) {
			t.Errorf("%s is not described", res.path)
		}
	}
}

func inGroup(path, prefixes string) bool {
	if prefixes == "" {
		return path == "" || path == "stats"
	}
	return slices.ContainsFunc(strings.Fields(prefixes), func(p string) bool { return strings.HasPrefix(path, p) })
}

func writeResource(b *bytes.Buffer, comments typeComments, res *resource) {
	method := "GET"
	if res.form {
		method = "GET, POST"
	}
	fmt.Fprintf(b, "\n### `/api/%s`\n\n%s %s\n", res.path, method+".", res.about)
	if len(res.params) > 0 {
		b.WriteString("\n| parameter | |\n|---|---|\n")
		for _, p := range res.params {
			fmt.Fprintf(b, "| `%s` | %s |\n", p.name, p.about)
		}
	}
	if res.answer != nil {
		b.WriteString("\n| field | type | |\n|---|---|---|\n")
		writeFields(b, comments, reflect.TypeOf(res.answer), "", nil)
	}
}

// writeFields writes a line for each field of a struct, and of those within it.
func writeFields(b *bytes.Buffer, comments typeComments, t reflect.Type, path string, within []reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" {
			writeFields(b, comments, inner, path, within)
			continue
		}
		if name == "-" {
			continue
		}
		about := comments[t.PkgPath()+"."+t.Name()+"."+f.Name]
		if rest, ok := strings.CutPrefix(about, f.Name+" "); ok {
			about = "`" + name + "` " + rest
		}
		elsewhere := slices.ContainsFunc(resources, func(res *resource) bool { return res.answer != nil && reflect.TypeOf(res.answer) == inner })
		if strings.Contains(options, "omit") {
			about = strings.TrimSpace(about + " *Left out when empty.*")
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", path, name, typeName(f.Type), strings.ReplaceAll(about, "|", "\\|"))
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() && !elsewhere && !slices.Contains(within, inner) {
			mark := "."
			if f.Type.Kind() == reflect.Slice {
				mark = "[]."
			}
			writeFields(b, comments, inner, path+name+mark, append(within, t))
		}
	}
}

// typeName is what a type is in JSON.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Float64 {
			return "number or null"
		}
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map of " + typeName(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return "time"
		}
		return "object"
	case reflect.Interface:
		return "anything"
	}
	return "number"
}

// typeComments has the comments of struct fields, by package, type and field.
type typeComments map[string]string

func readComments(t *testing.T, dirs ...string) typeComments {
	t.Helper()
	comments := make(typeComments)
	for _, dir := range dirs {
		pkg := reflect.TypeFor[App]().PkgPath()
		if dir != "." {
			pkg += "/" + dir
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				s, ok := spec.Type.(*ast.StructType)
				if !ok {
					return false
				}
				for _, field := range s.Fields.List {
					text := field.Doc.Text()
					if text == "" {
						text = field.Comment.Text()
					}
					for _, id := range field.Names {
						comments[pkg+"."+spec.Name.Name+"."+id.Name] = strings.Join(strings.Fields(text), " ")
					}
				}
				return false
			})
		}
	}
	return comments
}

const referenceHead = `# API

<!-- Made from the code: go test ./modules/analytics -run TestReference -update -->

The directive ` + "`analytics_api`" + ` serves what follows on a site:

` + "```caddyfile" + `
:5000 {
	analytics_api
}
` + "```" + `

Caddy's admin API has the same under ` + "`/analytics/`" + `: ` + "`/api/analytics/status`" + ` of a site is ` + "`/analytics/status`" + ` there, and
` + "`/api/stats`" + ` is ` + "`/analytics/stats`" + `. All of it is for reading. Times are RFC 3339, in parameters also seconds since 1970; durations
are numbers of seconds, in parameters also such as ` + "`5m`" + `. An error is ` + "`{\"error\": \"…\"}`" + ` with a fitting status, and says what to change:

| status | |
|---|---|
| 400 | A parameter is wrong. |
| 403, 421 | The client, or the name of the site, is not among those allowed. |
| 404 | There is no such resource, pipeline, series; the error lists those that are there. |
| 422 | The question is too large, or cannot be answered. |
| 429 | Too many questions at a time. |
| 503 | It took too long, or analytics is not switched on or not running. |

Questions to the store are bounded by ` + "`query`" + ` in the global option ` + "`analytics`" + `. They end when the client goes.

## Who may read it

A site answers loopback and private addresses only, unless it says otherwise:

` + "```caddyfile" + `
stats.example.com {
	basic_auth {
		ann $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	analytics_api {
		authenticated
	}
}
` + "```" + `

| option | |
|---|---|
| ` + "`allow private_ranges\\|<cidr...>`" + ` | Answers these clients. The default, with ` + "`private_ranges`" + `. Behind a proxy, list that in ` + "`trusted_proxies`" + ` of the server; if it is not, every address that it names must be allowed too. |
| ` + "`authenticated`" + ` | Answers whoever ` + "`basic_auth`" + ` or another authentication handler, or a verified TLS client certificate, has identified. |
| ` + "`authenticated elsewhere`" + ` | Answers everyone, as something before it, such as ` + "`forward_auth`" + `, lets nobody else through. |
| ` + "`insecure_public`" + ` | Answers everyone. |
| ` + "`hosts <name...>`" + ` | Under which names the site may be asked, against DNS rebinding; ` + "`*`" + ` for any. Without it, and with ` + "`allow`" + `: addresses, names without a dot, and names that nobody can register (` + "`.localhost`, `.local`, `.internal`, `.lan`, `.home.arpa`" + `). |

Pages of other sites get no answer.

## Grafana and promtool

` + "`/api/v1/`" + ` answers as Prometheus does. In Grafana, add a data source of type Prometheus with the address of the site. On the command line:

` + "```sh" + `
promtool query instant http://localhost:5000 'sum by (backend) (rate(caddy_lbpro_backend_requests_total[1m]))'
promtool query instant http://localhost:2019/analytics up
` + "```" + `
`
