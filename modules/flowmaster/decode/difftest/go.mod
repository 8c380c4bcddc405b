// A module of its own, so that goflow2 and what it requires stay out of the
// product's go.mod. The replace directive is for this module only: the tests
// are of the code beside them.
module github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode/difftest

go 1.26.7

require (
	github.com/caddy-lbpro/caddy-lbpro v0.0.0
	github.com/netsampler/goflow2/v2 v2.2.6
)

require (
	github.com/axiomhq/hyperloglog v0.3.0 // indirect
	github.com/dgryski/go-metro v0.0.0-20250106013310-edb8663e5e33 // indirect
	github.com/kamstrup/intmap v0.5.2 // indirect
)

replace github.com/caddy-lbpro/caddy-lbpro => ../../../..
