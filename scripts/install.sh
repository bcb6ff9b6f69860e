#!/usr/bin/env bash
# Installs the system packages that are missing. Quick when none is.
# usage: install.sh run|test
set -euo pipefail

run=(build-essential pkg-config ca-certificates
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav fonts-dejavu-core)
# git: cargo-deny reads the tree through it. python3-venv: aiortc, an independent WHIP publisher.
# firefox, GStreamer's WebRTC and its Python bindings: more of them. nginx: a CDN edge. redis, postgresql: rooms on several nodes (the tests start their own).
# coturn: a TURN relay.
test=(git chromium ffmpeg python3 python3-venv firefox-esr
  gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0 python3-gi nginx-light libnginx-mod-http-lua
  redis-server postgresql coturn)

case "${1:-run}" in
  run) wanted=("${run[@]}") ;;
  test) wanted=("${run[@]}" "${test[@]}") ;;
  *) echo "usage: $0 run|test" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
finish() {
  if [ "${1:-run}" = test ]; then
    "$(dirname "$0")/s3.sh"
    "$(dirname "$0")/pion.sh"
  fi
  exit 0
}
[ ${#missing[@]} -eq 0 ] && finish "$@"

command -v apt-get >/dev/null || { echo "please install by hand (no apt-get here): ${missing[*]}" >&2; exit 1; }
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
finish "$@"
