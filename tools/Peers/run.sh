#!/usr/bin/env bash
# run.sh ROOT SCRIPT.py [ARG ...]: runs a script with the Python in ROOT (see setup.sh), in the current folder and with the paths of the
# machine around it. The mounts live and die with the process. OMP_NUM_THREADS is 2 unless set.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: run.sh ROOT SCRIPT.py [ARG ...]" >&2; exit 2; }
root=$(cd "$1" && pwd)
[ -x "$root/usr/bin/python3" ] || { echo "run.sh: no Python in $root; make it with setup.sh $1" >&2; exit 1; }
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" UCX_LOG_LEVEL=fatal PYTHONDONTWRITEBYTECODE=1
exec unshare --mount bash -euc '
  root=$1
  for folder in /*/; do
    folder=${folder%/}
    case $folder in /bin|/boot|/etc|/lib*|/sbin|/usr|/var) continue ;; esac
    [ ! -L "$folder" ] || continue
    mkdir -p "$root$folder"
    mount --rbind "$folder" "$root$folder"
  done
  exec chroot "$root" env -u PYTHONHOME -u PYTHONPATH -C "$2" /usr/bin/python3 "${@:3}"' run.sh "$root" "$PWD" "${@:2}"
