#!/usr/bin/env bash
# Fuzzes what reads the bytes of strangers: scripts/fuzz.sh [seconds per target [target…]]
#
# Needs a C++ compiler, but neither a nightly compiler nor cargo-fuzz: what that would pass to rustc stands here, and is
# stable. `cargo +nightly fuzz run TARGET` works as well. No sanitizer: there is no unsafe code here, and a
# fault is a panic, an overflow or a failed assertion. What a run finds beyond the seeds is kept in fuzz/corpus, a fault
# in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls fuzz_targets | sed 's/\.rs$//')

export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
 -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
# With a target of its own name, so that build scripts are built without the instruments.
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${FUZZ_TARGET_DIR:-target}
cargo build --quiet --bins --tests --target "$host" --target-dir "$target_dir"

for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  log="artifacts/$target.log"
  # A seed that takes seconds, or memory without end, is a fault as well.
  if ! "$target_dir/$host/debug/$target" "corpus/$target" "seeds/$target" -artifact_prefix="artifacts/$target/" \
    -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
  fi
  echo "fuzz $target: $(awk '/stat::number_of_executed_units/ { print $2 }' "$log") inputs in $seconds s"
done
