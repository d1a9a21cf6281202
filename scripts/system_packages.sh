#!/bin/sh
# Packages that only tests need: a GStreamer RTSP server, Chromium, Prometheus, ffmpeg, coturn, mosquitto, Redis (for
# `make failover`), and systemd's linter of units. Installed with apt where the user is root; named where not. Nothing happens when all are there.
set -eu
packages="gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 python3-gi
gstreamer1.0-plugins-base gstreamer1.0-nice gir1.2-nice-0.1
gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
chromium prometheus ffmpeg coturn mosquitto redis-server fonts-dejavu-core systemd"

if ! command -v dpkg-query >/dev/null; then
    echo "system-packages: this is no Debian; install the like of:" $packages >&2
    exit 0
fi
missing=""
for package in $packages; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "system-packages: the tests need these; install them and run make test again:" >&2
    echo "    sudo apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Tests start their own Prometheus; the package must not start one of its own on a public port.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq $missing
