#!/usr/bin/env bash
# Asks Tagger's workers to tag images, with nothing but bash and base64.
#
#   TAGGER_BROKER_URL=redis://:password@host:6379/0 ./enqueue.sh [-r RUN] [-b] PATH...
#
# A PATH is a photo or a folder beneath the workers' roots, or a URI such as root://photos/2019.
# -r adds to the unfinished run of that name, -b makes it bulk work. README.md tells the message's form.

set -euo pipefail
LC_ALL=C # lengths are in bytes, as Redis counts them

fail() {
  printf 'enqueue.sh: %s\n' "$1" >&2
  exit "${2:-2}"
}

# "text" as a JSON string; UTF-8 stays as it is.
json_string() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\r'/\\r}
  text=${text//$'\t'/\\t}
  case $text in *[[:cntrl:]]*) fail "a name with control characters: write it as a URI, with %1b for each" ;; esac
  printf '"%s"' "$text"
}

uuid() {
  local hex='' _
  for _ in {1..16}; do printf -v hex '%s%02x' "$hex" $((RANDOM % 256)); done
  printf '%s-%s-4%s-a%s-%s' "${hex:0:8}" "${hex:8:4}" "${hex:13:3}" "${hex:17:3}" "${hex:20:12}"
}

# Sends its arguments as one Redis command, and fails when the answer is an error.
redis_command() {
  local argument
  printf '*%d\r\n' $# >&3
  for argument in "$@"; do printf '$%d\r\n%s\r\n' "${#argument}" "$argument" >&3; done
  IFS= read -r -t 10 REPLY <&3 || fail "$host:$port does not answer" 1
  [[ $REPLY != -* ]] || fail "$host:$port says: ${REPLY#-}" 1
}

run='' bulk=false
while getopts 'r:b' option; do
  case $option in
    r) run=$OPTARG ;;
    b) bulk=true ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
(($# > 0)) || fail "usage: enqueue.sh [-r RUN] [-b] PATH..."
(($# <= 10000)) || fail "one message holds 10,000 paths at most: name folders, or call it several times"

url=${TAGGER_BROKER_URL:-redis://localhost:6379/0}
form='^redis://(([^:@/]*)(:(.*))?@)?([^:@/]+)(:([0-9]+))?(/([0-9]+))?$'
[[ $url =~ $form ]] || fail "TAGGER_BROKER_URL has not the form redis://user:password@host:port/number"
user=${BASH_REMATCH[2]} password=${BASH_REMATCH[4]}
host=${BASH_REMATCH[5]} port=${BASH_REMATCH[7]:-6379} number=${BASH_REMATCH[9]:-0}
printf -v password '%b' "${password//%/\\x}" # percent-decoded

paths=''
for path in "$@"; do
  case $path in /* | *://*) ;; *) path=$PWD/$path ;; esac
  paths+="${paths:+, }$(json_string "$path")"
done

id=$(uuid)
arguments="{\"paths\": [$paths], \"bulk\": $bulk${run:+, \"run\": $(json_string "$run")}}"
body=$(printf '%s' "[[], $arguments, {}]" | base64)
message='{"body": "'${body//$'\n'/}'",
  "content-type": "application/json", "content-encoding": "utf-8",
  "headers": {"lang": "bash", "task": "tagger.enqueue", "id": "'$id'", "root_id": "'$id'"},
  "properties": {"body_encoding": "base64", "correlation_id": "'$id'", "delivery_tag": "'$(uuid)'",
    "delivery_mode": 2, "priority": 0,
    "delivery_info": {"exchange": "", "routing_key": "tagger.requests"}}}'

{ exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || fail "$host:$port cannot be reached" 1
if [[ -n $password ]]; then redis_command AUTH ${user:+"$user"} "$password"; fi
redis_command SELECT "$number"
redis_command LPUSH tagger.requests "$message"
printf 'asked for %d paths, message %s\n' $# "$id"
