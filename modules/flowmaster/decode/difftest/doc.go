// Package difftest compares package decode with goflow2's decoders, field by
// field, on recorded and on made-up datagrams, and measures one against the
// other. It has a go.mod of its own; run it with
//
//	cd modules/flowmaster/decode/difftest && go test ./...
//
// After a change of the product's requirements, go mod tidy here.
package difftest
