#!/usr/bin/env bash
# setup.sh ROOT: makes the peer in folder ROOT, a small Debian trixie of its own with PyTorch 2.6 for the CPU (about 2 GB, two minutes,
# needs root and debootstrap; a mirror other than Debian's default is taken from DEBIAN_MIRROR). Nothing outside ROOT is changed.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: setup.sh ROOT (an empty or new folder, with 2 GB free)" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "setup.sh: debootstrap is missing; install Debian's package of that name" >&2; exit 1; }
mkdir -p "$1"; root=$(cd "$1" && pwd)

packages=python3,python3-numpy,python3-torch,python3-onnx,python3-pil,python3-safetensors,libopenblas0-openmp
[ -x "$root/usr/bin/python3" ] || debootstrap --variant=minbase --include=$packages trixie "$root" ${DEBIAN_MIRROR:-}

# PyTorch's own loops run on OpenMP threads. OpenBLAS must run on the same ones: its default build keeps a second pool, and the two pools
# fight for the cores (about ten times slower). Both libraries are installed, so the alternatives say which one is loaded.
libraries=/usr/lib/x86_64-linux-gnu
for name in libblas.so.3 liblapack.so.3; do
  chroot "$root" update-alternatives --set $name-x86_64-linux-gnu $libraries/openblas-openmp/$name
done
chroot "$root" update-alternatives --set libopenblas.so.0-x86_64-linux-gnu $libraries/openblas-openmp/libopenblas.so.0
chroot "$root" ldconfig
exec "$(dirname "$0")/run.sh" "$root" -c 'import torch; print("PyTorch", torch.__version__, torch.backends.cpu.get_cpu_capability(), "ready")'
