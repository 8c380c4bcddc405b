package difftest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/netsampler/goflow2/v2/decoders/netflow"
)

// explained are the recordings on which the two differ, and why.
var explained = map[string]string{}

// TestFixtures: every record of every recording has the same fields with the
// same octets in both decoders, but for the differences explained above. An
// explanation that explains nothing is an error too.
func TestFixtures(t *testing.T) {
	var cases []struct {
		Name  string
		Files []string
	}
	if err := json.Unmarshal(fixture(t, "expected.json"), &cases); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			d, templates := decode.NewDecoder(decode.NewStore(decode.Limits{})), netflow.CreateTemplateSystem()
			for _, file := range c.Files {
				b := fixture(t, file)
				we, err := ours(d, b)
				if err != nil {
					t.Errorf("%s: ours: %v", file, err)
				}
				they, theirErr := theirs(templates, b)
				difference := ""
				if !slices.EqualFunc(we, they, slices.Equal[record]) {
					difference = "records differ"
				}
				if why, ok := explained[file]; ok != (difference != "") {
					t.Errorf("%s: difference %q, explained as %q; ours %d records, theirs %d, %v\n%v\n%v",
						file, difference, why, len(we), len(they), theirErr, we, they)
				}
				compared += len(we)
			}
		})
	}
	if compared < 100 {
		t.Errorf("only %d records were compared", compared)
	}
}
