# What every script may use.
set -eu
umask 022

# fact RECIPE.NAME, file NAME: the path of a file that came with this job.
fact() { printf '%s\n' "$CONTINUUM_FILES/$1"; }
file() { printf '%s\n' "$CONTINUUM_FILES/$1"; }

# same NAME PATH: PATH has what the job's file NAME has.
same() { cmp -s "$CONTINUUM_FILES/$1" "$2"; }

# put NAME PATH [MODE]: the job's file NAME at PATH, all of it or nothing.
put() {
  mkdir -p "$(dirname "$2")"
  cp "$CONTINUUM_FILES/$1" "$2.continuum"
  chmod "${3:-0644}" "$2.continuum"
  mv -f "$2.continuum" "$2"
}

# program BLOB PATH: PATH runs the program BLOB. A link costs nothing; a store that we may not change gets a copy.
program() {
  mkdir -p "$(dirname "$2")"
  rm -f "$2"
  if [ -x "$1" ] || chmod 0755 "$1" 2>/dev/null; then
    ln -s "$1" "$2"
  else
    cp "$1" "$2.continuum"
    chmod 0755 "$2.continuum"
    mv -f "$2.continuum" "$2"
  fi
}

# is_program BLOB PATH: `program` has been here.
is_program() {
  [ -x "$2" ] && { [ "$(readlink -f "$2")" = "$(readlink -f "$1")" ] || cmp -s "$1" "$2"; }
}

# within SECONDS COMMAND...: tries until it works; its last words if it never does.
within() {
  within_end=$(($(cut -d. -f1 /proc/uptime) + $1)) within_pause=0.2
  shift
  until within_said=$("$@" 2>&1); do
    if [ "$(cut -d. -f1 /proc/uptime)" -ge "$within_end" ]; then
      printf 'gave up waiting for: %s\n%s\n' "$*" "$within_said" >&2
      return 1
    fi
    sleep "$within_pause"
    case $within_pause in 0.2) within_pause=0.5 ;; *) within_pause=1 ;; esac
  done
}

# step: the check decides, the run works, and the check has the last word.
step() {
  set +e
  (step_check) >/dev/null 2>&1
  step_status=$?
  set -e
  if [ "$step_status" -eq 0 ]; then
    echo unchanged >"$CONTINUUM_RESULT"
    return 0
  fi
  step_run
  set +e
  (step_check)
  step_status=$?
  set -e
  if [ "$step_status" -ne 0 ]; then
    echo "the step ran to its end, but its check still says that it is not done" >&2
    return 1
  fi
}
