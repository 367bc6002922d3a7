#!/bin/sh
# Writes the corpus of gemma4-nano: the King James text, one verse a line, as train.txt and heldout.txt.
#
# usage: corpus.sh OUT_DIR        needs: apt-get install bible-kjv
set -eu

out=$1
mkdir -p "$out"

# `bible` prefixes every verse with its reference, such as "gen1:1 ".
bible -f gen1:1-rev22:21 | sed -E 's/^[0-9A-Za-z]+:[0-9]+ //' > "$out/all.txt"

# Every 20th block of 40 verses is held out, so that both parts cover the whole text.
awk -v block=40 -v held="$out/heldout.txt" -v train="$out/train.txt" '
    { if (int((NR - 1) / block) % 20 == 19) print > held; else print > train }
' "$out/all.txt"

wc -lc "$out"/*.txt
