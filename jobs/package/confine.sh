#!/bin/sh
# Runs a command as the managed service would: nothing can be written but below the temporary directory, the application
# itself is read-only, and its properties are at /etc/flink. To be called in a mount namespace of its own (unshare).
#   confine.sh WORK TEMPORARY COMMAND...     WORK holds application/ and properties.json, and is below TEMPORARY
set -eu
work=$1 temporary=$2
shift 2

mount --make-rprivate /

# /etc as it is, and one more folder in it.
mkdir "$work/etc"
mount --rbind /etc "$work/etc"
mount -t tmpfs tmpfs /etc
for entry in "$work/etc"/*; do ln -s "$entry" "/etc/${entry##*/}"; done
mkdir /etc/flink
cp "$work/properties.json" /etc/flink/application_properties.json

mount --rbind "$temporary" "$temporary"
mount --bind "$work/application" "$work/application"
mount -o remount,bind,ro "$work/application"

# Field 5 of each line is the mount point. One made over another has the same, so one pass finds the topmost of all.
cut -d ' ' -f 5 /proc/self/mountinfo | sort -u | while read -r place; do
    case $(printf '%b' "$place") in
        /proc | /proc/* | /sys | /sys/* | /dev | /dev/* | "$temporary" | "$temporary"/*) ;;
        *) mount -o remount,bind,ro "$(printf '%b' "$place")" ;;
    esac
done

for place in / /etc/flink "$work/application"; do
    if touch "$place/.headroom-probe" 2>/dev/null; then
        echo "confine.sh: $place can be written to" >&2
        exit 97
    fi
done
cd "$work/application"
exec "$@"
