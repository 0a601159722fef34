# A virtual machine whose kernel has rdma_rxe: QEMU, Debian's kernel image, an initramfs of busybox
# and modules, and the host's root over 9p under a tmpfs overlay. Sourced by with-rxe.sh.

cache=${VERBENA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/verbena}/rxe
modules='virtio_pci 9pnet_virtio 9p overlay crc32_generic dummy veth sch_netem'
modules+=' rdma_rxe ib_uverbs rdma_ucm'

install_packages() {
  local missing=() name
  for name in qemu-system-x86 busybox-static kmod cpio iproute2; do
    dpkg -s "$name" >/dev/null 2>&1 || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  echo "with-rxe: installing ${missing[*]}" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

kernel_package() {
  apt-cache depends linux-image-amd64 |
    sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}

# Leaves $cache/kernel and $cache/modules/lib/modules/VERSION.
fetch_kernel() {
  [ -f "$cache/kernel" ] && return
  local package work
  package=$(kernel_package)
  [ -n "$package" ] || { apt-get update -qq >&2; package=$(kernel_package); }
  [ -n "$package" ] || fail 'no linux-image-amd64 in the package lists; run apt-get update'
  echo "with-rxe: downloading $package for the virtual machine" >&2
  work=$(mktemp -d)
  (cd "$work" && apt-get -o APT::Sandbox::User=root download -qq "$package" >&2)
  dpkg-deb --fsys-tarfile "$work"/*.deb |
    tar -x -C "$work" --wildcards './boot/vmlinuz-*' './lib/modules/*'
  mkdir -p "$cache"
  rm -rf "$cache/modules"
  mkdir "$cache/modules"
  mv "$work/lib" "$cache/modules/lib"
  depmod -b "$cache/modules" "$(ls "$cache/modules/lib/modules")"
  mv "$work"/boot/vmlinuz-* "$cache/kernel"
  rm -rf "$work"
}

# Paths of the modules and what they depend on, in the order to load them.
module_paths() {
  local version name
  version=$(ls "$cache/modules/lib/modules")
  for name in $modules; do
    modprobe --show-depends -d "$cache/modules" -S "$version" "$name"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

build_initramfs() {
  local stamp tree path
  stamp=$(cat "$here/rxe/init" "$here/rxe/machine.sh" | sha256sum | cut -c1-16)
  initramfs=$cache/initramfs-$stamp
  [ -f "$initramfs" ] && return
  tree=$(mktemp -d)
  mkdir -p "$tree"/{bin,dev,proc,sys,modules,lower,upper,root}
  cp /bin/busybox "$tree/bin/busybox"
  install -m 755 "$here/rxe/init" "$tree/init"
  while read -r path; do
    cp "$path" "$tree/modules/"
    basename "$path" >>"$tree/modules/order"
  done < <(module_paths)
  rm -f "$cache"/initramfs-*
  (cd "$tree" && find . | cpio -o -H newc --quiet) | gzip -1 >"$initramfs.part"
  mv "$initramfs.part" "$initramfs"
  rm -rf "$tree"
}

prepare_machine() {
  install_packages
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  fetch_kernel
  build_initramfs
  flock -u 9
}

write_job() {
  printf '%q ' "$@" >"$job/command"
  printf '%s' "$PWD" >"$job/directory"
  printf '%s' "$out" >"$job/out-directory"
  printf '%s' "$VERBENA_RXE_NETNS" >"$job/netns"
  export -p | grep -vE '^declare -x (SHLVL|OLDPWD|PWD|_)=' >"$job/environment"
  cp "$here/rxe/network.sh" "$job/network.sh"
}

# True where KVM runs a guest: some hosts have the device and refuse, or hang, when it is used. The
# guest is a boot sector of two instructions, mov al, 0x10 and out 0xf4, al, which end qemu with 33.
kvm_works() {
  [ -w /dev/kvm ] || return 1
  local status
  { printf '\xb0\x10\xe6\xf4'; head -c 506 /dev/zero; printf '\x55\xaa'; } >"$job/probe"
  # In a shell of its own, which says nothing about a program that ended by a signal.
  status=$(
    exec 2>/dev/null
    timeout -k 1 5 qemu-system-x86_64 -accel kvm -cpu max -m 32 -nodefaults -display none \
      -drive "file=$job/probe,format=raw" -device isa-debug-exit,iobase=0xf4,iosize=1 >/dev/null
    echo $?
  )
  [ "$status" = 33 ]
}

run_in_machine() {
  job=$(mktemp -d)
  trap 'rm -rf "$job"' EXIT
  mkfifo "$job/stdout" "$job/stderr"
  [ -z "$out" ] || { mkdir -p "$out"; out=$(cd "$out" && pwd); }
  write_job "$@"
  cat "$job/stdout" &
  local cat_out=$!
  cat "$job/stderr" >&2 &
  local cat_err=$!

  # Emulated, the kernel would not trust the counter of the CPU and read a slow timer instead.
  local accel=tcg,thread=multi clock='clocksource=tsc tsc=reliable'
  kvm_works && accel=kvm clock=''
  local share=()
  [ -z "$out" ] || share=(-virtfs "local,path=$out,mount_tag=out,security_model=none")
  local started=$SECONDS status=0
  timeout --foreground -k 5 $((timeout + 60)) qemu-system-x86_64 \
    -accel "$accel" -cpu max -smp 2 -m "$memory" -nodefaults -display none -no-reboot \
    -kernel "$cache/kernel" -initrd "$initramfs" \
    -append "console=ttyS0 quiet $clock panic=-1 net.ifnames=0 verbena.timeout=$timeout" \
    -serial "file:$job/console" -serial "file:$job/stdout" -serial "file:$job/stderr" \
    -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
    -virtfs "local,path=$job,mount_tag=job,security_model=none" "${share[@]}" \
    </dev/null >&2 || status=$?
  wait "$cat_out" "$cat_err"
  if [ ! -f "$job/status" ]; then
    echo "with-rxe: the machine ended without a result after $((SECONDS - started)) s" \
      "(qemu status $status); its console ends:" >&2
    tail -n 25 "$job/console" >&2
    return 125
  fi
  status=$(cat "$job/status")
  [ "$status" != 124 ] || echo "with-rxe: stopped after $timeout s (--timeout)" >&2
  return "$status"
}
