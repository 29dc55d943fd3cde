#!/usr/bin/env bash
# The paper's tables and figures on CIFAR-10, for one GPU: what a stranger would run.
#
#   DATA=/where/cifar10/is results/cifar10/reproduce.sh             # all of it; start it again at any time, it goes on
#   TIME_LIMIT=7200 DATA=... results/cifar10/reproduce.sh           # two hours of it
#   REHEARSE=1 results/cifar10/reproduce.sh                         # every command for a few steps, on a CPU, on scanned digits
#
# What it does stands in order of value, so a visit that ends early has done the most useful part. A finished run is
# never done twice; one that was cut off goes on. After each phase the small results are written beside this file.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

DATA=${DATA:-${BINREG_DATA:-}}           # Folder with train/<class>/ and test/<class>/
RUNS=${RUNS:-runs/cifar10}               # Where the runs go (git ignores runs/)
RESULTS=${RESULTS:-$here}                # Where the tables and pictures go
EPOCHS=${EPOCHS:-90}                     # As in the paper; m scales with it
FP_EPOCHS=${FP_EPOCHS:-$EPOCHS}          # Of the full-precision starts
SEARCH_EPOCHS=${SEARCH_EPOCHS:-30}       # Of the search on LSQ alone
JOBS=${JOBS:-4}                          # Runs at a time on the one GPU
PRECISION=${PRECISION:-auto}             # fp32 or bf16; the search writes both down
TIME_LIMIT=${TIME_LIMIT:-0}              # Seconds until it stops; 0 for none
PHASES=${PHASES:-"fp search table4 table1_2bit table2_2bit table3 table1 figures"}
REHEARSE=${REHEARSE:-0}

net=(--dataset cifar10 --data "$DATA"); more=()
if [ "$REHEARSE" != 0 ]; then
  RUNS=${REHEARSE_RUNS:-runs/rehearsal}; RESULTS=${REHEARSE_RESULTS:-$RUNS/results}; EPOCHS=3; FP_EPOCHS=2; SEARCH_EPOCHS=2; JOBS=1
  net=(--dataset digits); more=(--subset 128 --no-compile --device cpu --bn-batches 2 --eval-every 3)
fi
common=("${net[@]}" "${more[@]}" --fp-epochs "$FP_EPOCHS" --precision "$PRECISION" --no-notebook --quiet)
mkdir -p "$RUNS" "$RESULTS"; begun=$SECONDS; trouble=0

left() { [ "$TIME_LIMIT" = 0 ] && echo 0 || echo $(( TIME_LIMIT - (SECONDS - begun) )); }   # 0: no limit
over() { [ "$TIME_LIMIT" != 0 ] && [ "$(left)" -le 0 ]; }
stop() { echo "reproduce: the time is up; the same command goes on from here"; results; exit "$trouble"; }

# Run a command with the time that is left; the tree of processes ends with it, and finished runs stay
run() {
  over && stop
  if [ "$TIME_LIMIT" = 0 ]; then "$@"; else timeout --signal=INT --kill-after=30 "$(left)" "$@"; fi
  local rc=$?
  if [ $rc = 124 ] || [ $rc = 137 ]; then stop; fi
  if [ $rc -ge 128 ]; then echo "reproduce: stopped"; exit $rc; fi
  [ $rc = 0 ] || { trouble=1; echo "reproduce: '$*' ended with status $rc; going on" >&2; }
  return 0
}
sweep() { run binreg-sweep "$@" "${common[@]}" --epochs "$EPOCHS" --out "$RUNS" -j "$JOBS"; }

results() {                                                # small files, from the runs alone
  ls "$RUNS"/*/metrics.json > /dev/null 2>&1 || return 0
  binreg-report "$RUNS" --out "$RUNS/report.html" --runs "$RESULTS/runs.csv" > "$RESULTS/runs.txt" || trouble=1
  # before the first line of a table is there, these two say so, and that is no trouble
  binreg-report "$RUNS" --out "$RUNS/report.html" --table all --markdown "$RESULTS/tables.md" --csv "$RESULTS/tables.csv" > /dev/null 2>&1
  binreg-report "$RUNS" --out "$RUNS/report.html" --claims > "$RESULTS/claims.txt" 2>&1
  cp "$RUNS"/figures/figure*.png "$RESULTS" 2> /dev/null; return 0
}

# 1. Full precision: a weak start makes every later number worthless. Wanted: ResNet18 above 94 %, MobileNetV2 above 92 %
phase_fp() { sweep starts; }

# 2. Learning rate, weight decay and batch size, on LSQ alone at 2 bits, so that BR gets no advantage: one axis at a time.
#    The learning rate is used from here on; the other two stand in the table, for a person to put into the recipe.
phase_search() {
  local start; start=$(ls -d "$RUNS"/*-mobilenet_v2-fp-s0-* | head -1)
  local lrs="0.01 0.02 0.04 0.08" wds="0 0.000125 0.0005" sizes="64 256"
  [ "$REHEARSE" != 0 ] && { lrs="0.01 0.02"; wds=""; sizes="32"; }
  for lr in $lrs; do trial "$start" lr "$lr"; done; wait; write_search
  local best; best=$(best_lr)
  for wd in $wds; do trial "$start" weight-decay "$wd" --lr "$best"; done
  for b in $sizes; do trial "$start" batch-size "$b" --lr "$best"; done; wait; write_search
}
trial() { # START SETTING VALUE [MORE]: one LSQ run; JOBS at a time
  local start=$1 key=$2 value=$3; shift 3
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
  run binreg-run "${common[@]}" --network mobilenet_v2 --method lsq --w-bits 2 --a-bits 2 --start "$start" --epochs "$SEARCH_EPOCHS" "--$key" "$value" "$@" --out "$RUNS/search/$key-$value" > /dev/null &
}
write_search() { # search.csv: what was tried and what came of it, the best first
  ls "$RUNS"/search/*/metrics.json > /dev/null 2>&1 || return 0
  python3 - "$RUNS/search" > "$RESULTS/search.csv.new" <<'PY' && mv "$RESULTS/search.csv.new" "$RESULTS/search.csv"
import csv, json, pathlib, sys
keys, rows = ['network', 'method', 'w_bits', 'epochs', 'lr', 'weight_decay', 'batch_size', 'precision', 'seed'], []
for m in pathlib.Path(sys.argv[1]).glob('*/metrics.json'):
    cfg, res = json.loads((m.parent/'config.json').read_text()), json.loads(m.read_text())
    rows.append([m.parent.name] + [cfg[k] for k in keys] + [res['status'], res['top1'], res['seconds']])
out = csv.writer(sys.stdout, lineterminator='\n'); out.writerow(['trial'] + keys + ['status', 'top1', 'seconds'])
out.writerows(sorted(rows, key=lambda r: -(r[-2] or 0)))
PY
}
best_lr() { awk -F, '$1 ~ /^lr-/ {print $6; exit}' "$RESULTS/search.csv" 2> /dev/null; }
chosen() { local lr; lr=$(best_lr); [ -n "$lr" ] && echo "--lr $lr"; }

# 3. to 7. The tables: at 2 bits first, where the claims are, and the seeds that a claim about spread needs
phase_table4()      { sweep table4 --seeds "$(seeds 3)" $(chosen); }
phase_table1_2bit() { sweep table1 --seeds "$(seeds 3)" --rows 'w_bits == 2' $(chosen); }
phase_table2_2bit() { sweep table2 --seeds "$(seeds 3)" --rows "w_bits == 2$(few)" $(chosen); }
phase_table3()      { sweep table3 --seeds "$(seeds 5)" $(chosen); }
phase_table1()      { sweep table1 --seeds "$(seeds 3)" $(chosen); }
# 8. Figures 1 to 5 (most of their runs are the tables')
phase_figures()     { sweep figures $(chosen); }
few() { [ "$REHEARSE" != 0 ] && echo ' and 1 <= lam <= 2'; }   # two lines of seven
seeds() { [ "$REHEARSE" != 0 ] && echo 1 || echo "$1"; }

if [ "$REHEARSE" = 0 ] && ! [ -d "$DATA/train" ] && ! [ -d "$DATA/cifar10/train" ]; then
  echo "reproduce: DATA='$DATA': no folder with train/<class>/ and test/<class>/; say where CIFAR-10 is: DATA=/path $0" >&2; exit 2
fi
for p in $PHASES; do declare -F "phase_$p" > /dev/null || { echo "reproduce: PHASES: unknown phase '$p' (available: fp search table4 table1_2bit table2_2bit table3 table1 figures)" >&2; exit 2; }; done
for p in $PHASES; do
  over && stop
  echo "== $p ($(( SECONDS - begun )) s)"
  "phase_$p"
  over && stop
  results
done
echo "reproduce: all phases are through; small results are in $RESULTS"
exit "$trouble"
