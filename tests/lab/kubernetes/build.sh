#!/bin/bash
# build.sh OUT - Kubernetes and what it needs, built from Go modules, for machines that cannot reach upstream's releases.
#
# OUT/bin has the programs, OUT/images the container images (OCI archives), OUT/artifacts.jsonl says what they are;
# `continuum bundle create BUNDLE --from OUT` makes a bundle of them, marked as built. The versions are upstream's;
# modules/*/go.mod and go.sum pin every module by hash, and nothing here changes them.
#
# Each part is skipped when nothing that it is made of has changed (OUT/.stamps). Cold, on 2 cores: about 5 minutes for
# Kubernetes and 6 for the rest; with a warm Go cache about a minute; unchanged: under a second.
#
# CONTINUUM names the program that packs images; CONTINUUM_CACHE the cache folder. Needs Go, gcc and, as root,
# mmdebstrap; the Debian packages are listed in PACKAGES below.
set -euo pipefail

PACKAGES=(gcc libc6-dev libseccomp-dev pkg-config mmdebstrap)

here=$(cd "$(dirname "$0")" && pwd)
# version MODULE_FOLDER MODULE: the version that go.mod pins, without the v. There is no second place that says it.
version() { sed -nE "s|^(require )?[[:space:]]*$2 v([^ ]+).*|\\2|p" "$here/modules/$1/go.mod" | grep . || { echo "no $2 in modules/$1/go.mod" >&2; exit 1; }; }
KUBERNETES=$(version kubernetes k8s.io/kubernetes)
ETCD=$(version etcd go.etcd.io/etcd/server/v3)
CONTAINERD=$(version containerd github.com/containerd/containerd/v2)
RUNC=$(version runc github.com/opencontainers/runc)
CNI=$(version cni github.com/containernetworking/plugins)
COREDNS=$(version coredns github.com/coredns/coredns)
# Newer than 0.27.4 needs a module that the proxy does not serve.
FLANNEL=$(version flannel github.com/flannel-io/flannel)
# The flannel CNI plugin as it was in the plugins' own repository: flannel-io/cni-plugin is served as no module.
# It stands in for upstream's image of the tag below.
CNI_FLANNEL=$(version cni-flannel github.com/containernetworking/plugins)
CNI_FLANNEL_TAG=1.7.1-flannel1
# Tags that kubeadm of this version asks for; checked against it once it is built.
ETCD_TAG=3.6.8-0
PAUSE=3.10.2
# Debian 12's. Not busybox-static: a static glibc program loads its name services at run time, which an image does not
# have. The ordinary one with libc6 beside it resolves names (wget, nc, nslookup and httpd tried). `wget -T` crashes in
# Debian's build, which has no time-outs compiled in: write `timeout 5 wget` in pods.
BUSYBOX=1.35
# Fixed, so that equal packages give equal layers.
export SOURCE_DATE_EPOCH=1767225600

root=$(cd "$here/../../.." && pwd)
cache=${CONTINUUM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/continuum}
continuum=${CONTINUUM:-$root/target/debug/continuum}

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Everything that is missing is named at once, each with what to do.
check_tools() {
  local missing=() have need
  need=$(cat "$here"/modules/*/go.mod | sed -n 's/^go //p' | sort -V | tail -1)
  if ! command -v go >/dev/null; then
    missing+=("Go is not installed: Go $need or newer is needed (a tar file from its own site, unpacked to /usr/local/go)")
  else
    have=$(go env GOVERSION | sed 's/^go//; s/[- ].*//')
    if [[ $(printf '%s\n' "$need" "$have" | sort -V | tail -1) != "$have" ]]; then
      missing+=("Go $have is too old: Go $need or newer is needed")
    fi
  fi
  command -v gcc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists libseccomp && command -v mmdebstrap >/dev/null \
    || missing+=("Debian packages are missing: apt-get install ${PACKAGES[*]}")
  [[ -x $continuum ]] || missing+=("$continuum is not there: cargo build -p provisioner, or set CONTINUUM")
  [[ $(id -u) == 0 ]] || missing+=("not root: mmdebstrap makes image layers with the packages' owners and modes")
  ((${#missing[@]} == 0)) || { for m in "${missing[@]}"; do say "$m"; done; exit 1; }
}

# part NAME INPUT...: runs part_NAME unless its function, its inputs and the tools are those of the last time.
# An input is a file, a folder, or the stamp of another part.
part() {
  local name=$1 stamp started=$SECONDS
  shift
  stamp=$({
    go version; gcc -dumpfullversion; declare -f "part_$name" go_build image rootfs
    set | grep -E '^(KUBERNETES|ETCD|ETCD_TAG|CONTAINERD|RUNC|CNI|CNI_FLANNEL|CNI_FLANNEL_TAG|COREDNS|FLANNEL|PAUSE|BUSYBOX|SOURCE_DATE_EPOCH)='
    find "$@" -type f -print0 | sort -z | xargs -0 cat
  } | sha256sum | cut -d' ' -f1)
  if [[ -f $out/.stamps/$name && $(cat "$out/.stamps/$name") == "$stamp" ]]; then return; fi
  rm -f "$out/.stamps/$name"
  "part_$name"
  printf '%s\n' "$stamp" >"$out/.stamps/$name"
  changed=yes
  say "$name: $((SECONDS - started)) s"
}

# go_build MODULE TAGS LDFLAGS [NAME=]PACKAGE...: programs into OUT/bin, moved there when all are done.
go_build() {
  local module=$1 tags=$2 flags=$3 temp package
  shift 3
  temp=$(mktemp -d "$out/.build-XXXXXX")
  (cd "$here/modules/$module" && go build -tags "$tags" -ldflags "-s -w $flags" -o "$temp/" "${@#*=}")
  for package; do
    if [[ $package == *=* ]]; then mv "$temp/$(basename "${package%/v[0-9]}")" "$temp/.${package%%=*}"; mv "$temp/.${package%%=*}" "$temp/${package%%=*}"; fi
  done
  mv "$temp"/* "$out/bin/"
  rmdir "$temp"
}

# image FILE REFERENCE ARGUMENT...: an OCI archive.
image() { "$continuum" bundle build-image --out "$out/images/$1.tar" --arch "$arch" --name "$2" "${@:3}" >/dev/null; }

# rootfs FILE PACKAGES: a layer of unpacked Debian packages and what they depend on, without what is of the build machine.
rootfs() {
  local temp
  temp=$(mktemp -d "$out/.build-XXXXXX")
  mmdebstrap --quiet --variant=extract --format=directory --include="$2" --extract-hook="sh '$here/rootfs-hook.sh' \"\$1\"" bookworm "$temp/root"
  # Device nodes come from the container runtime.
  tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --format=gnu --numeric-owner -C "$temp/root" -cf "$out/layers/$1.tar" \
    --exclude='./dev/*' --exclude=./var --exclude=./etc/apt --exclude=./etc/dpkg --exclude=./etc/fstab --exclude=./etc/hostname --exclude=./etc/resolv.conf .
  rm -rf --one-file-system "$temp"
}

part_kubernetes() {
  local v=k8s.io/component-base/version
  local c=k8s.io/kubernetes/cmd
  CGO_ENABLED=0 go_build kubernetes "" "-X $v.gitVersion=v$KUBERNETES -X $v.gitMajor=1 -X $v.gitMinor=${KUBERNETES:2:2} -X $v.gitTreeState=clean" \
    $c/kube-apiserver $c/kube-controller-manager $c/kube-scheduler $c/kube-proxy $c/kubelet $c/kubeadm $c/kubectl
  "$out/bin/kubeadm" config images list --kubernetes-version "v$KUBERNETES" 2>/dev/null >"$out/.images"
  local reference
  for reference in "etcd:$ETCD_TAG" "coredns/coredns:v$COREDNS" "pause:$PAUSE"; do
    grep -qx "registry.k8s.io/$reference" "$out/.images" || die "kubeadm $KUBERNETES does not ask for $reference: $(tr '\n' ' ' <"$out/.images")"
  done
}
part_etcd() { CGO_ENABLED=0 go_build etcd "" "" etcd=go.etcd.io/etcd/server/v3; }
part_containerd() {
  local c=github.com/containerd/containerd/v2
  CGO_ENABLED=0 go_build containerd "no_btrfs no_aufs no_zfs no_devmapper static_build" "-X $c/version.Version=v$CONTAINERD" \
    $c/cmd/containerd $c/cmd/containerd-shim-runc-v2 $c/cmd/ctr
}
# C inside: nsenter. Without seccomp every pod sandbox fails ("config provided but seccomp not supported").
part_runc() { CGO_ENABLED=1 go_build runc "seccomp netgo osusergo" "-extldflags -static" github.com/opencontainers/runc; }
part_cni() {
  local p=github.com/containernetworking/plugins
  CGO_ENABLED=0 go_build cni "" "-X $p/pkg/utils/buildversion.BuildVersion=v$CNI" \
    $p/plugins/main/bridge $p/plugins/main/loopback $p/plugins/ipam/host-local $p/plugins/meta/portmap
}
part_cni_flannel() {
  local p=github.com/containernetworking/plugins
  CGO_ENABLED=0 go_build cni-flannel "" "-X $p/pkg/utils/buildversion.BuildVersion=v$CNI_FLANNEL" cni-flannel=$p/plugins/meta/flannel
}
part_coredns() { CGO_ENABLED=0 go_build coredns "" "" github.com/coredns/coredns; }
# C inside: the udp backend.
part_flannel() {
  CGO_ENABLED=1 go_build flannel "netgo osusergo" "-extldflags -static -X github.com/flannel-io/flannel/pkg/version.Version=v$FLANNEL" flanneld=github.com/flannel-io/flannel
}
part_pause() { gcc -Os -s -static -Wall -Werror -o "$out/bin/pause" "$here/pause.c"; }
part_layer_net() { rootfs net nftables,iptables,conntrack,busybox; }
part_layer_busybox() { rootfs busybox busybox; }

part_images_kubernetes() {
  local c
  for c in kube-apiserver kube-controller-manager kube-scheduler; do
    image $c "registry.k8s.io/$c:v$KUBERNETES" --entrypoint "/usr/local/bin/$c" "$out/bin/$c=/usr/local/bin/$c"
  done
  # It runs nft and conntrack.
  image kube-proxy "registry.k8s.io/kube-proxy:v$KUBERNETES" --base "$out/layers/net.tar" --entrypoint /usr/local/bin/kube-proxy \
    "$out/bin/kube-proxy=/usr/local/bin/kube-proxy"
}
part_image_etcd() { image etcd "registry.k8s.io/etcd:$ETCD_TAG" --entrypoint /usr/local/bin/etcd "$out/bin/etcd=/usr/local/bin/etcd"; }
part_image_coredns() { image coredns "registry.k8s.io/coredns/coredns:v$COREDNS" --entrypoint /coredns "$out/bin/coredns=/coredns"; }
part_image_pause() { image pause "registry.k8s.io/pause:$PAUSE" --entrypoint /pause "$out/bin/pause=/pause"; }
# Laid out as upstream's two images are, so that one manifest works with either: flannel's init containers run `cp`.
part_images_flannel() {
  image flannel "docker.io/flannel/flannel:v$FLANNEL" --base "$out/layers/net.tar" --entrypoint /opt/bin/flanneld "$out/bin/flanneld=/opt/bin/flanneld"
  image flannel-cni-plugin "docker.io/flannel/flannel-cni-plugin:v$CNI_FLANNEL_TAG" --base "$out/layers/busybox.tar" "$out/bin/cni-flannel=/flannel"
}
part_image_busybox() { image busybox "docker.io/library/busybox:$BUSYBOX" --base "$out/layers/busybox.tar" --cmd sh; }

# file NAME VERSION BINARY SOURCE [LICENCE]; picture NAME VERSION REFERENCE SOURCE [LICENCE]: lines of artifacts.jsonl.
file() { printf '{"name":"%s","version":"%s","arch":"%s","path":"bin/%s","source":"%s","licence":"%s"}\n' "$1" "$2" "$arch" "$3" "$4" "${5:-Apache-2.0}"; }
picture() { printf '{"name":"%s","version":"%s","arch":"%s","path":"images/%s.tar","image":"%s","source":"%s","licence":"%s"}\n' "$1" "$2" "$arch" "$1" "$3" "$4" "${5:-Apache-2.0}"; }
artifacts() {
  local name k="k8s.io/kubernetes@v$KUBERNETES" c="github.com/containerd/containerd/v2@v$CONTAINERD" p="github.com/containernetworking/plugins"
  local with_debian="Apache-2.0 AND GPL-2.0-only AND GPL-2.0-or-later AND LGPL-2.1-or-later"
  for name in kubelet kubeadm kubectl; do file $name "$KUBERNETES" $name "$k"; done
  for name in containerd containerd-shim-runc-v2 ctr; do file $name "$CONTAINERD" $name "$c"; done
  file runc "$RUNC" runc "github.com/opencontainers/runc@v$RUNC" "Apache-2.0 AND LGPL-2.1-only"
  for name in bridge loopback host-local portmap; do file cni-$name "$CNI" $name "$p@v$CNI"; done
  file cni-flannel "$CNI_FLANNEL_TAG" cni-flannel "$p@v$CNI_FLANNEL (stands in for github.com/flannel-io/cni-plugin)"
  for name in kube-apiserver kube-controller-manager kube-scheduler; do picture $name "$KUBERNETES" "registry.k8s.io/$name:v$KUBERNETES" "$k"; done
  picture kube-proxy "$KUBERNETES" "registry.k8s.io/kube-proxy:v$KUBERNETES" "$k" "$with_debian"
  picture etcd "$ETCD" "registry.k8s.io/etcd:$ETCD_TAG" "go.etcd.io/etcd/server/v3@v$ETCD"
  picture coredns "$COREDNS" "registry.k8s.io/coredns/coredns:v$COREDNS" "github.com/coredns/coredns@v$COREDNS"
  picture pause "$PAUSE" "registry.k8s.io/pause:$PAUSE" "tests/lab/kubernetes/pause.c"
  picture flannel "$FLANNEL" "docker.io/flannel/flannel:v$FLANNEL" "github.com/flannel-io/flannel@v$FLANNEL" "$with_debian"
  picture flannel-cni-plugin "$CNI_FLANNEL_TAG" "docker.io/flannel/flannel-cni-plugin:v$CNI_FLANNEL_TAG" "$p@v$CNI_FLANNEL (stands in for github.com/flannel-io/cni-plugin)" "$with_debian"
  picture busybox "$BUSYBOX" "docker.io/library/busybox:$BUSYBOX" "Debian 12: busybox, libc6" "GPL-2.0-only AND LGPL-2.1-or-later"
}

out=${1:?build.sh OUT}
check_tools
mkdir -p "$out/bin" "$out/images" "$out/layers" "$out/.stamps"
out=$(cd "$out" && pwd)
arch=$(go env GOARCH)
export GOCACHE=$cache/go-build GOMODCACHE=$cache/go-mod GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -trimpath -buildvcs=false"
# Two builds into one folder would take each other's files away.
exec 9>"$out/.lock"
flock 9
rm -rf --one-file-system "$out"/.build-*
changed=no

m=$here/modules s=$out/.stamps packer=$root/provisioner/src/bundle/oci.rs hook=$here/rootfs-hook.sh
part pause "$here/pause.c"
part kubernetes "$m/kubernetes"
part etcd "$m/etcd"
part containerd "$m/containerd"
part runc "$m/runc"
part cni "$m/cni"
part cni_flannel "$m/cni-flannel"
part coredns "$m/coredns"
part flannel "$m/flannel"
part layer_net "$hook"
part layer_busybox "$hook"
part image_pause "$s/pause" "$packer"
part images_kubernetes "$s/kubernetes" "$s/layer_net" "$packer"
part image_etcd "$s/etcd" "$packer"
part image_coredns "$s/coredns" "$packer"
part images_flannel "$s/flannel" "$s/cni_flannel" "$s/layer_net" "$s/layer_busybox" "$packer"
part image_busybox "$s/layer_busybox" "$packer"
# Its age is that of the newest part: who makes a bundle of it can tell whether there is anything to do.
artifacts >"$out/artifacts.jsonl.new"
if [[ $changed == yes ]] || ! cmp -s "$out/artifacts.jsonl.new" "$out/artifacts.jsonl"; then
  mv "$out/artifacts.jsonl.new" "$out/artifacts.jsonl"
else
  rm "$out/artifacts.jsonl.new"
fi
say "$(wc -l <"$out/artifacts.jsonl") artifacts in $out, $SECONDS s"
