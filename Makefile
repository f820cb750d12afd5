# `make run` starts a node, `make test` runs every check; one check alone: `.ci/stages clippy`.
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run cluster mutants test test-fdb

run:
	cargo build --release --package headwater-node
	$(target)/release/headwater serve

# Three nodes on this machine; Ctrl-C ends them.
cluster:
	cargo build --release --package headwater-node
	HEADWATER=$(target)/release/headwater deploy/cluster/three_nodes.sh

test:
	@.ci/stages

# Plants known defects one by one; fails unless the simulation finds each.
mutants:
	@.ci/stages mutants

# The conformance suite on a FoundationDB cluster; linking needs libfdb_c 7.3.
test-fdb:
	@test -n "$$FDB_CLUSTER_FILE" || { \
		echo "FDB_CLUSTER_FILE is not set; name the cluster file of a running FoundationDB 7.3" >&2; \
		exit 1; }
	cargo test --release --package headwater-storage-fdb --features fdb --test conformance
