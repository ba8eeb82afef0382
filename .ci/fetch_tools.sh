#!/usr/bin/env bash
# Fetch Prometheus, Alertmanager and their checkers into .tools/bin, without root and without installing
# anything: Debian's packages are downloaded and unpacked, so no service of theirs is ever started.
# A program that the PATH already has is not fetched. Running it again is cheap.
#
#   .ci/fetch_tools.sh [--node-exporter] [--chromium]
#
# FETCH_SECONDS (default 240) limits each download.
# Exit 0: all programs are there and run. Exit 1: at least one is missing; the message says why.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
tools="$root/.tools"
bin="$tools/bin"

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Debian calls Alertmanager's daemon and the node exporter by other names than their projects do.
other_name() {
  case $1 in
    alertmanager) echo prometheus-alertmanager ;;
    node_exporter) echo prometheus-node-exporter ;;
    chromium) echo chromium-browser ;;
    *) echo "$1" ;;
  esac
}

runs() { "$1" --version >/dev/null 2>&1; }

have() {
  local name
  for name in "$bin/$1" "$1" "$(other_name "$1")"; do
    if command -v -- "$name" >/dev/null 2>&1 && runs "$name"; then return 0; fi
  done
  return 1
}

missing_of() {
  local name
  for name in "$@"; do have "$name" || echo "$name"; done
}

# apt with lists and cache of its own. The machine's sources, keys and proxy settings stay in force; hooks
# that would touch the machine, and indexes that nobody reads here, do not.
apt() { timeout --foreground "${FETCH_SECONDS:-240}" apt-get -qq -c "$tools/apt/apt.conf" "$@"; }

write_apt_conf() {
  mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial"
  : >"$tools/apt/no-packages"
  cat >"$tools/apt/apt.conf" <<CONF
Dir::State::lists "$tools/apt/lists";
Dir::Cache "$tools/apt/cache";
Debug::NoLocking "true";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
CONF
}

# The names of the packages that installing "$@" would unpack.
closure() { apt -s --no-install-recommends install "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p'; }

# Go programs need only libc; of all else that hangs on the packages, Prometheus' web pages need some
# JavaScript. Counted from an empty system, so that every machine gets the same set.
web_files='libjs-(bootstrap4|d3|eonasdan-.*|jquery|jquery-hotkeys|moment|moment-timezone|mustache|popper.js|rickshaw)'
server_packages() {
  printf '%s\n' "$@"
  closure -o Dir::State::status="$tools/apt/no-packages" "$@" | grep -xE "$web_files|fonts-glyphicons-.*" || true
}

# Chromium needs the libraries that this machine lacks.
chromium_packages() { printf '%s\n' chromium chromium-common; closure chromium fonts-dejavu-core; }

unpack() {
  local folder=$tools/apt/archives deb
  rm -rf -- "$folder"
  mkdir -p "$folder" "$tools/root"
  (cd "$folder" && apt download "$@") || return 1
  for deb in "$folder"/*.deb; do dpkg-deb -x "$deb" "$tools/root"; done
  # 200 MB of old time-zone tables that no page loads.
  rm -rf -- "$folder" "$tools/root/usr/share/javascript/moment-timezone/data"
}

# A wrapper finds its files beside itself, so that the clone may be moved; exec keeps the process id.
wrap() {
  local name=$1 line=$2
  mkdir -p "$bin"
  printf '#!/usr/bin/env bash\nroot=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../root" && pwd)\n%s\n' "$line" \
    >"$bin/$name.new"
  chmod 755 "$bin/$name.new"
  mv -f -- "$bin/$name.new" "$bin/$name"
}

# Debian's Alertmanager reads its templates and pages from a folder whose name is fixed in the program. Here
# that name becomes one of the same length, the folder that the wrapper opened as file 9.
free_alertmanager() {
  local fixed=/usr/share/prometheus/alertmanager start=/proc/self/fd padding
  padding=$(printf '%*s' $((${#fixed} - ${#start} - 1)) '' | tr ' ' /)
  LC_ALL=C sed -i "s#$fixed#$start${padding}9#g" "$tools/root/usr/bin/prometheus-alertmanager"
  mkdir -p "$tools/root$fixed"
}

# For a machine without any font: those that came with the package.
write_fonts_conf() {
  cat >"$tools/root/fonts.conf" <<CONF
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
CONF
}

link() {
  case $1 in
    prometheus) wrap prometheus 'exec "$root/usr/bin/prometheus" --web.local-assets="$root/usr/share/prometheus/web" "$@"' ;;
    alertmanager)
      free_alertmanager
      wrap alertmanager 'exec 9<"$root/usr/share/prometheus/alertmanager"
exec "$root/usr/bin/prometheus-alertmanager" "$@"'
      ;;
    chromium) write_fonts_conf; wrap chromium 'lib=lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="$root/usr/$lib:$root/$lib:$root/usr/$lib/pulseaudio${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE="$root/fonts.conf"
exec "$root/usr/lib/chromium/chromium" "$@"' ;;
    *) mkdir -p "$bin" && ln -sfn "../root/usr/bin/$2" "$bin/$1" ;;
  esac
}

package_of() {
  case $1 in
    prometheus | promtool) echo prometheus ;;
    alertmanager | amtool) echo prometheus-alertmanager ;;
    node_exporter) echo prometheus-node-exporter ;;
    *) echo chromium ;;
  esac
}

fetch() {
  local name packages=()
  for name in "$@"; do
    [ "$name" = chromium ] || packages+=("$(package_of "$name")")
  done
  if [ ${#packages[@]} -gt 0 ]; then mapfile -t packages < <(server_packages "${packages[@]}" | sort -u); fi
  case " $* " in *' chromium '*) mapfile -t -O ${#packages[@]} packages < <(chromium_packages | sort -u) ;; esac
  unpack "${packages[@]}" || return 1
  for name in "$@"; do
    case $name in
      node_exporter) link "$name" "$(other_name "$name")" ;;
      *) link "$name" "$name" ;;
    esac
  done
}

failed() {
  tail -n 5 "$tools/apt/update.log" "$tools/apt/download.log" >&2
  say "could not fetch $* (see above); install $(for name in "$@"; do package_of "$name"; done | sort -u | tr '\n' ' ')or try again"
}

wanted=(prometheus promtool alertmanager amtool)
for flag in "$@"; do
  case $flag in
    --node-exporter) wanted+=(node_exporter) ;;
    --chromium) wanted+=(chromium) ;;
    *) die "unknown flag $flag; known: --node-exporter --chromium" ;;
  esac
done

mapfile -t missing < <(missing_of "${wanted[@]}")
[ ${#missing[@]} -gt 0 ] || exit 0
for program in apt-get dpkg-deb; do
  command -v "$program" >/dev/null || die "no $program here; put ${missing[*]} on the PATH yourself"
done

mkdir -p "$tools"
exec 9>"$tools/lock"
flock -w 300 9 || die "another fetch has been running for 5 minutes"
mapfile -t missing < <(missing_of "${wanted[@]}")
[ ${#missing[@]} -gt 0 ] || exit 0

say "fetching ${missing[*]} from the Debian packages into .tools/"
write_apt_conf
# A third-party source that cannot be reached fails here without harm: the download below is what counts.
apt update >"$tools/apt/update.log" 2>&1 || true
# The browser is the larger part by far: without it the rest is there all the same.
servers=() browsers=()
for name in "${missing[@]}"; do
  case $name in chromium) browsers+=("$name") ;; *) servers+=("$name") ;; esac
done
for group in "${servers[*]}" "${browsers[*]}"; do
  read -ra names <<<"$group"
  [ ${#names[@]} -eq 0 ] || fetch "${names[@]}" >"$tools/apt/download.log" 2>&1 || failed "${names[@]}"
done
mapfile -t missing < <(missing_of "${wanted[@]}")
[ ${#missing[@]} -eq 0 ] || die "these are missing, or do not run: ${missing[*]}"
