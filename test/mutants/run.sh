#!/usr/bin/env bash
# Plants each bug of test/mutants/*.patch in a copy of the tree and runs the tests named by its "Killed-by:" lines. A mutant
# survives if they pass; a patch that does not apply is stale. Both fail the run. Arguments name patches to run alone.
set -u
cd "$(dirname "$0")/../.." || exit 1
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
caught=0 total=0 bad=0
list=("$@")
[ ${#list[@]} -eq 0 ] && list=(test/mutants/*.patch)
for patch in "${list[@]}"; do
  total=$((total + 1))
  name=$(basename "$patch" .patch)
  rm -rf "${copy:?}/tree" && mkdir "$copy/tree"
  # Tracked and new files as they are in the working tree.
  { git ls-files -co --exclude-standard 2>/dev/null || find . -type f; } | tar -cf - --ignore-failed-read -T - 2>/dev/null | tar -xf - -C "$copy/tree"
  if ! (cd "$copy/tree" && git apply --whitespace=nowarn "test/mutants/$name.patch") 2>"$copy/err"; then
    echo "STALE    $name: $(head -1 "$copy/err")"; bad=$((bad + 1)); continue
  fi
  killer=$(sed -n 's/^Killed-by: *//p' "$patch" | head -1)
  if [ -z "$killer" ]; then echo "NO TEST  $name: no Killed-by line"; bad=$((bad + 1)); continue; fi
  if ! (cd "$copy/tree" && go vet ./$(echo "$killer" | grep -oE '\./[^ ]+' | head -1)) >"$copy/log" 2>&1; then
    echo "BROKEN   $name: does not compile"; head -5 "$copy/log"; bad=$((bad + 1)); continue
  fi
  if (cd "$copy/tree" && timeout 180 bash -c "$killer") >"$copy/log" 2>&1; then
    echo "SURVIVED $name: $(sed -n 's/^Bug: *//p' "$patch")"; bad=$((bad + 1))
  elif grep -qE 'no tests to run|build failed|setup failed' "$copy/log"; then
    echo "NO TEST  $name: $(grep -E 'no tests to run|build failed|setup failed' "$copy/log" | head -1)"; bad=$((bad + 1))
  else
    caught=$((caught + 1)); echo "caught   $name"
  fi
done
echo "caught $caught/$total"
[ "$bad" -eq 0 ] && [ "$total" -gt 0 ]
