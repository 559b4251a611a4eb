#!/bin/bash
# Write everything in this folder again: make.sh FIRST SECOND PYTHON, with checkouts of 5feca87 and 41243b4, in an empty folder
# that holds copies of this script, make.py, stop.py and settings.yaml.
set -e
export OMP_NUM_THREADS=1
first() { PYTHONPATH=$1 $3 -m sounddetect "${@:4}"; }
second() { PYTHONPATH=$2 $3 -m sounddetect "${@:4}"; }
$3 make.py
first "$@" train recordings/OK recordings/NG --config settings.yaml --run first
second "$@" train recordings/OK recordings/NG --config settings.yaml --set inference.threshold=best_f1 --set inference.temperature=auto --run run
second "$@" train recordings --config settings.yaml --set 'data.classes=[OK, NG, hum]' --run three
second "$@" export run --out detector.onnx
PYTHONPATH=$2 $3 stop.py
mkdir scores
first "$@" predict first recordings stereo.wav --out scores/format_1.csv
second "$@" predict run recordings stereo.wav --out scores/run.csv
second "$@" predict three recordings stereo.wav --out scores/three_classes.csv
mv first/model format_1
mv three/model three_classes
rm -r first three .cache run/evaluation/*.png run/evaluation/report.html run/evaluation/errors
