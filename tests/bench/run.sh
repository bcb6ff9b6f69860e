#!/usr/bin/env bash
# Runs the benchmarks that are named, on release builds. usage: run.sh [origin] [window] [latency] [room] [list] [ingest]
set -euo pipefail
cd "$(dirname "$0")/../.."
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")/release"
[ $# -gt 0 ] || set -- origin window latency room list ingest

# With the features of the whole workspace, so that nothing is built twice.
build() { cargo build --release --workspace --quiet --bin "$1"; }

for name in "$@"; do
  printf '\n# %s\n\n' "$name"
  case "$name" in
    origin | window)
      build "bench-$name"
      "$target/bench-$name"
      ;;
    room)
      build lectern
      build bench-room
      (cd tests/bench/room && npm ci --no-fund --no-audit --loglevel=error)
      BENCH_LECTERN="$target/lectern" "$target/bench-room"
      ;;
    ingest)
      build lectern
      build bench-ingest
      BENCH_LECTERN="$target/lectern" "$target/bench-ingest"
      ;;
    latency)
      build lectern
      (cd tests && npm run --silent setup && TEST_LECTERN="$target/lectern" node bench/latency.mjs)
      ;;
    list)
      (cd tests && npm run --silent setup && node bench/list.mjs)
      ;;
    *)
      echo "there is no benchmark '$name': origin, window, latency, room, list, ingest" >&2
      exit 2
      ;;
  esac
done
