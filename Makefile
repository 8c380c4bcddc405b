# Shortcuts only; everything works without make.
.PHONY: test race bench lint demo compare ci

test:
	go test ./...

race:
	go test -race ./...

bench:
	go test -run '^$$' -bench . -benchmem ./modules/...

lint:
	go run "$$(cat .ci/golangci-lint)" run ./...

demo:
	go run ./cmd/caddy lbpro demo

compare:
	go run ./internal/testbed/compare

ci:
	bash .ci/run
