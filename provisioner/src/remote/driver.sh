#!/bin/sh
# The machine's side of a job: sent along with every request, so that both sides are always of one version.
#
#   driver serve            a request on stdin; events and output on stdout (wire.rs has the grammar)
#   driver take HASH SIZE   a blob on stdin
#   driver ask SIZE SECONDS a short script on stdin; its output, nothing kept
#   driver work UNIT CAP    inside the transient unit: runs the script, writes its status
#   driver finish UNIT      after the unit: writes the status that the script could not write
#
# What is kept of a job, in $state/jobs/UNIT:  attempt  out  rc  result  tail  told
# What is secret and gone with the job, in $run/jobs/UNIT (memory):  driver  script  files/
# Invariants: rc is there whole or not at all; a unit holds the lock $run/locks/UNIT.busy as long as it works;
# jobs of one name are started one at a time, under $run/locks/UNIT.start.
# A small job should cost little: where the shell itself can look, no process is made for it.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
umask 077
state=/var/lib/continuum
run=/run/continuum
rest=16384 # of an output that is too long, this much of its end is kept: a failure is explained there

say() { printf '%s\n' "$*" || exit 1; }
refuse() { say "refuse $*"; exit 0; }

# Makes a folder if it is not there.
folder() { [ -d "$1" ] || mkdir -p "$1"; }
open_folder() { [ -d "$1" ] || (umask 022 && mkdir -p "$1"); }

# How long a file is; fails if there is none.
size_of() { stat -Lc %s "$1" 2>/dev/null; }

# The clean environment of a script: nothing of the login or of systemd reaches it.
clean() {
  cd / || exit 1
  umask 022
  exec env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 CONTINUUM_BLOBS="$state/blobs" "$@"
}

# ---- serve ----

serve() {
  if ! { mkdir "$in/files" && folder "$run/jobs" && folder "$run/locks"; }; then refuse "cannot make $run"; fi
  missing=
  receive
  [ -z "$missing" ] || exit 0
  job=$state/jobs/$unit
  decide
  read -r attempt <"$job/attempt" || refuse "cannot read $job/attempt"
  say "attempt $attempt"
  [ "$attempt" = "$known" ] || offset=0
  follow
  tell
}

receive() {
  known='' offset=0
  while read -r word a b; do
    case $word in
    unit) unit=$a ;;
    timeout) timeout=$a ;;
    time) theirs=$a ;;
    cap) cap=$a ;;
    have) known=$a offset=$b ;;
    script) head -c "$a" >"$in/script" || refuse "no room for the script in $run" ;;
    file) head -c "$b" >"$in/files/$a" || refuse "no room for file $a in $run" ;;
    blob) blob "$a" "$b" ;;
    end) return ;;
    *) refuse "cannot understand $word" ;;
    esac
  done
  exit 1 # the other side is gone
}

blob() {
  [ "$(size_of "$state/blobs/$1")" != "$2" ] || return 0
  if [ "$(size_of "$state/shared/$1")" = "$2" ]; then
    open_folder "$state/blobs" && ln -sfn "$state/shared/$1" "$state/blobs/$1" && return
  fi
  say "need $1"
  missing=1
}

# Start, join or take what is kept. A failure that was told is tried again; a success is not.
decide() {
  open_folder "$state" || refuse "cannot make $state"
  folder "$state/jobs" || refuse "cannot make $state/jobs"
  exec 8>>"$run/locks/$unit.start"
  flock -w 60 8 || refuse "another start of $unit does not end"
  if [ -f "$job/rc" ]; then
    read -r status _ <"$job/rc"
    if [ "$status" != 0 ] && [ -f "$job/told" ]; then start; fi
  elif ! [ -f "$job/attempt" ] || ! alive; then
    start
  fi
  exec 8>&-
}

alive() {
  case $(systemctl show --value -p ActiveState "$unit.service" 2>/dev/null) in
  active | activating | deactivating | reloading) return 0 ;;
  *) return 1 ;;
  esac
}

# Certificates and tokens that one machine makes must be valid on the others: five minutes is what Kerberos allows, too.
same_time() {
  off=$(($(date +%s) - theirs))
  case $off in
  -*) off=${off#-} way=behind ;;
  *) way='ahead of' ;;
  esac
  [ "$off" -le 300 ] || refuse "its clock is $((off / 60)) minutes $way this computer's, and says $(date -u +%Y-%m-%dT%H:%MZ): set the one that is wrong (timedatectl)"
}

start() {
  same_time
  if [ -d "$job" ]; then
    tries=0
    while alive; do # the unit of the last attempt may still be cleaning up
      [ "$tries" -lt 100 ] || refuse "the unit of the last attempt of $unit does not end"
      tries=$((tries + 1))
      sleep 0.1
    done
    rm -rf "$job" "$run/jobs/$unit"
  fi
  prune
  # the place of the status is taken now, so that a full disk cannot lose it
  read -r attempt </proc/sys/kernel/random/uuid
  if ! { mkdir "$job" && : >"$job/out" && printf '%-31s\n' pending >"$job/rc.new" &&
    say "$attempt" >"$job/attempt"; }; then
    refuse "cannot write to $job: $(df -h "$state" | tail -n 1)"
  fi
  mv "$in" "$run/jobs/$unit" || refuse "cannot move $in"
  words=$(systemd-run --quiet --collect --unit="$unit" --service-type=exec \
    --property=RuntimeMaxSec="$timeout" --property=TimeoutStopSec=5 --property=KillMode=control-group \
    --property=OOMPolicy=continue --property=StandardInput=null --property=StandardOutput=null \
    --property=ExecStopPost="/bin/sh $run/jobs/$unit/driver finish $unit" \
    /bin/sh "$run/jobs/$unit/driver" work "$unit" "$cap" 2>&1 8>&-) || {
    rm -rf "$job" "$run/jobs/$unit"
    refuse "systemd does not start the unit: $(printf %s "$words" | tr '\n' ' ' | tail -c 300)"
  }
}

# Two hundred jobs are kept: more than any machine's recipes have, a few kilobytes each once told.
prune() {
  for old in "$run"/in.*; do # of conversations that were killed
    kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old"
  done
  set -- "$state"/jobs/*
  [ $# -gt 200 ] || return 0
  # shellcheck disable=SC2012 # names are ours: a-z, 0-9 and -
  ls -1t "$state/jobs" | tail -n +200 | while read -r old; do
    if [ -f "$state/jobs/$old/rc" ]; then rm -rf "${state:?}/jobs/$old" "$run/locks/$old.start" "$run/locks/$old.busy"; fi
  done
}

# Sends output as it comes until there is a status. The lock, not the clock, tells when the unit has ended.
follow() {
  wait=0.05 beats=0 gone=0
  while :; do
    ended=
    [ ! -f "$job/rc" ] || ended=1 # looked at before the output: what was written before it is sent
    emit
    [ -z "$ended" ] || return 0
    if flock -s -w "$wait" "$run/locks/$unit.busy" true; then
      [ ! -f "$job/rc" ] || continue
      lost
    fi
    case $wait in 0.05) wait=0.1 ;; 0.1) wait=0.2 ;; 0.2) wait=0.5 ;; *) wait=1 ;; esac
    beats=$((beats + 1))
    [ $((beats % 5)) != 0 ] || say beat
  done
}

# No status, and nobody works: the unit is just starting or ending, or the machine lost both.
lost() {
  if alive; then
    gone=0
  else
    gone=$((gone + 1))
    if [ "$gone" -gt 20 ]; then settle "137 lost"; fi
  fi
  sleep 0.05
}

emit() {
  [ -s "$job/out" ] || return 0
  size=$(size_of "$job/out") || return 0
  [ "$size" -gt "$offset" ] || return 0
  n=$((size - offset))
  say "out $offset $n"
  tail -c "+$((offset + 1))" "$job/out" | head -c "$n" || exit 1
  offset=$size
  wait=0.05
}

tell() {
  if [ -s "$job/out" ] && ! [ -f "$job/tail" ]; then
    tail -c 8192 "$job/out" | tail -n 20 >"$job/tail.new" && mv "$job/tail.new" "$job/tail"
  fi
  if [ -s "$job/tail" ]; then
    say "tail $(size_of "$job/tail")"
    cat "$job/tail" || exit 1
  fi
  read -r status why <"$job/rc"
  changed=changed
  if [ -f "$job/result" ] && grep -qx unchanged "$job/result"; then changed=unchanged; fi
  say "done $status $why $changed"
  read -r word || exit 1
  # it is in the operator's log now; the end of it stays with the status
  if [ "$word" = told ]; then : >"$job/told" && rm -f "$job/out"; fi
}

# ---- the unit ----

work() {
  dir=$run/jobs/$unit
  exec 9>>"$run/locks/$unit.busy"
  flock 9
  mkfifo "$dir/pipe" || exit 1
  drain <"$dir/pipe" 9>&- &
  drain=$!
  (clean CONTINUUM_FILES="$dir/files" CONTINUUM_RESULT="$job/result" /bin/sh "$dir/script") \
    </dev/null >"$dir/pipe" 2>&1 9>&-
  status=$?
  # a process that the script left behind may hold the pipe open: two seconds, then the unit ends it
  { sleep 2 && kill "$drain"; } 2>/dev/null 9>&- &
  guard=$!
  wait "$drain"
  kill "$guard"
  why='exit'
  if [ "$status" -gt 128 ]; then why=signal; fi
  if [ "$status" != 0 ] && [ "$(ooms)" -gt 0 ]; then why=oom; fi
  settle "$status $why"
}

drain() {
  stdbuf -o0 head -c "$cap" >>"$job/out"
  tail -c "$rest" >"$job/rest"
  if [ -s "$job/rest" ]; then
    printf '\n[continuum: more than %s bytes of output; the last lines follow]\n' "$cap" >>"$job/out"
    cat "$job/rest" >>"$job/out"
  fi
  rm -f "$job/rest"
}

# How many processes of this unit the kernel has ended for want of memory.
ooms() {
  group=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
  file=/sys/fs/cgroup/memory$group/memory.oom_control
  if [ -z "$group" ]; then
    group=$(sed -n 's/^0:://p' /proc/self/cgroup)
    file=/sys/fs/cgroup$group/memory.events
  fi
  case $group in # the count of a group that others share says nothing of this unit
  */"$unit.service") n=$(sed -n 's/^oom_kill //p' "$file" 2>/dev/null) ;;
  *) n=0 ;;
  esac
  echo "${n:-0}"
}

# Writes the status over the place that was taken for it, then shows it.
settle() {
  if [ -f "$job/rc.new" ]; then
    printf '%-31s\n' "$1" 1<>"$job/rc.new" && mv "$job/rc.new" "$job/rc"
  fi
}

finish() {
  if [ -d "$job" ] && ! [ -f "$job/rc" ]; then
    case ${SERVICE_RESULT-} in
    timeout) settle "143 timeout" ;;
    oom-kill) settle "137 oom" ;;
    *) settle "137 killed" ;;
    esac
  fi
  rm -rf "$run/jobs/$unit"
}

# ---- blobs and questions ----

take() {
  blobs=$state/blobs
  temp=$blobs/.$1.$$
  open_folder "$blobs" || refuse "cannot make $blobs"
  trap 'rm -rf "$in" "$temp"' EXIT
  mkfifo "$in/copy" || refuse "cannot write to $run"
  sha256sum <"$in/copy" >"$in/hash" &
  head -c "$2" | tee "$in/copy" >"$temp" || refuse "no room for a file of $2 bytes: $(df -h "$blobs" | tail -n 1)"
  wait
  read -r hash _ <"$in/hash"
  [ "$hash" = "$1" ] || refuse "file has sha256 $hash, not $1"
  chmod 755 "$temp" || refuse "cannot write to $blobs"
  mv -f "$temp" "$blobs/$1" || refuse "cannot write to $blobs"
  say taken
}

ask() {
  head -c "$1" >"$in/script" || exit 1
  {
    {
      (clean timeout -k 5 "$2" /bin/sh "$in/script") </dev/null
      echo $? >"$in/status"
    } 2>&1 >&3 3>&- | tail -c 4096 >&2 3>&-
  } 3>&1
  read -r status <"$in/status"
  exit "$status"
}

verb=$1
case $verb in
work | finish) unit=$2 job=$state/jobs/$2 ;;
*)
  in=${0%/driver}
  trap 'rm -rf "$in"' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  say "continuum 1"
  ;;
esac
case $verb in
serve) serve ;;
take) take "$2" "$3" ;;
ask) ask "$2" "$3" ;;
work) cap=$3 && work ;;
finish) finish ;;
esac
