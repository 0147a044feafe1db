"""Words of the command line that are too large, too long or nothing at all."""

from __future__ import annotations

SIGNS = "x\x1b[31m\r\x07\u202e\n::error::y##[error]z"
"""A name that colours, rings, goes back, turns the writing round and gives orders to a CI."""


def spell(word: str) -> str:
    """BIG is a number of 5,000 digits, LONG a name of 10,000 letters, NUL a null byte."""
    return word.replace("BIG", "9" * 5_000).replace("LONG", "a" * 10_000).replace("NUL", "\0")


CASES = [
    line
    for line in """
table lenet5 --batch 1000000000000000
table lenet5 --batch 10000000000000000000
table lenet5 --batch 100000000000000000000000
table lenet5 --batch BIG
table lenet5 --batch 99999999999999999999999 --train
table lenet5 --depth BIG
table lenet5 --top 99999999999999999999999999
table lenet5 --input 1xBIGx3
table lenet5 --input [1,1,99999999999999999999,32]
table lenet5 --input 1x4294967296x4294967296
table "lenet5(num_classes=99999999999999999999)"
table "lenet5(num_classes=BIG)"
table "lenet5(num_classes=-1)"
table "conv3-99999999999999999999"
table "conv3-BIG"
table "conv99999999999-3"
table "(relu)x99999999999"
table "NUL"
table "NUL.json"
table "NUL.py:Net"
table "NUL.pt2"
table "NUL.safetensors"
table "LONG"
table "LONG.json"
table "LONG.py:Net"
table "LONG.pt2"
table "LONG.safetensors"
table "LONG.pt"
table "hf:LONG.json"
table "hf:LONG"
table "hf:NUL.json"
table "timm:LONG"
table "torchvision:NUL"
table "NUL.NUL:x"
table lenet5 -o "NUL.csv"
table lenet5 -o "LONG.csv"
table lenet5 -o "LONG/x.csv"
table lenet5 --input "LONG.npy"
table lenet5 --input "NUL.npy"
table "lenet5@LONG"
table "net.py:Net@NUL"
table lenet5 --columns NUL
table lenet5 --dtype NUL
table lenet5 --by LONG
inputs lenet5 --where features.0=BIGx5
inputs lenet5 --where features.0=28x28 --hi 99999999999999999999
inputs lenet5 --where features.0=28x28 --hi BIG
inputs lenet5 --where features.0=28x28 --hi 1000000000
inputs lenet5 --where features.0=28x28 --lo -5 --hi 20
inputs lenet5 --where NUL
whatif lenet5 --width inf
whatif lenet5 --width nan
whatif lenet5 --width 1e30
whatif lenet5 --width 1e300
whatif lenet5 --width -1
whatif lenet5 --width 0
whatif lenet5 --width 1e-30
whatif lenet5 --num-classes 0
whatif lenet5 --num-classes -1
whatif lenet5 --num-classes 99999999999999999999
whatif lenet5 --num-classes BIG
whatif lenet5 --num-classes 1000000000000000000
whatif lenet5 --stack3x3 --middle 99999999999999999999
whatif lenet5 --stack3x3 --middle 0
whatif lenet5 --width 2 -o "NUL.py"
fit lenet5 --max-params BIG
fit lenet5 --max-params 1e9
fit lenet5 --max-memory BIG
fit lenet5 --max-macs 99999999999999999999999999999999999999999999 --over batch
fit lenet5 --max-activation 999999999999999TiB --over batch
fit lenet5 --max-activation 999999999999999TiB --over resolution
fit lenet5 --max-memory 999999999999TiB --over batch
fit lenet5 --over NUL --max-macs 1G
memory lenet5 --batch 1000000000000000
memory lenet5 --batch BIG
memory lenet5 --device NUL
memory lenet5 --device LONG.json
memory lenet5 --device "NUL.json"
devices NUL
devices LONG
models NUL
models LONG
models "[[["
models "***"
guide NUL
guide ../guide/ci
verify lenet5 --batch 100000000000000000
verify lenet5 --batch BIG
compare lenet5 NUL
compare lenet5 LONG.json
report lenet5 -o "NUL.html"
report lenet5 -o "LONG.html"
epoch lenet5 --images BIG
epoch lenet5 --images 0
check lenet5 --max-params BIG
check lenet5 --max-params 1M --baseline NUL.json
check lenet5 --max-params 1M --baseline LONG
check lenet5 --max-params 1M --tolerance BIG
check lenet5 --baseline lenet5 --tolerance BIG%
check lenet5 --max-params 1M --format junit -o "LONG.xml"
table hf:llama --context BIG --phase prefill
table hf:llama --set seq=BIG
table hf:llama --set seq=99999999999999999999
table hf:llama --phase decode --context 99999999999999999999
table hf:llama --phase decode --context 1000000000000
table lenet5 --train --optimizer "adamw(lr=BIG)"
table lenet5 --train --optimizer "LONG"
table lenet5 --train --optimizer "sgd(momentum=inf)"
table lenet5 --arg x=BIG
table lenet5 --arg "x=((((((((("
table lenet5 --batch -1
table vgg16 --batch 1099511627776
verify lenet5 --batch 1099511627776
memory vgg16 --batch 1099511627776
whatif vgg16 --num-classes 1099511627776
probe lenet5 --batch 0
probe lenet5 --batch 1000000000000
probe lenet5 --batch BIG
probe lenet5 --batches 0
probe lenet5 --batches 99999999999999999999
probe lenet5 --batches BIG
probe lenet5 --batches 1000000000
probe lenet5 --seed -1
probe lenet5 --seed 99999999999999999999999999
probe lenet5 --seed BIG
probe lenet5 --data NUL
probe lenet5 --data LONG
probe lenet5 --data folder:NUL
probe lenet5 --data folder:LONG
probe lenet5 --data folder:.
probe lenet5 --data folder:/dev/null
probe lenet5 --data cifar10:/dev/zero
probe lenet5 --data digits:x
probe lenet5 --weights NUL
probe lenet5 --weights NUL.pt
probe lenet5 --weights LONG.safetensors
probe lenet5 --weights /dev/zero
probe lenet5 --weights .
probe lenet5 --optimizer NUL
probe lenet5 --optimizer "sgd(lr=inf)"
probe lenet5 --optimizer "sgd(lr=nan)"
probe lenet5 --optimizer "sgd(lr=-1)"
probe lenet5 --optimizer "sgd(lr=1e300)"
probe lenet5 --optimizer "adam(betas=5)"
probe lenet5 --optimizer lbfgs
probe lenet5 --optimizer "sgd(lr='x')"
probe lenet5 --dtype NUL
probe lenet5 --dtype int64
probe lenet5 --columns NUL
probe lenet5 --batch 2 -o NUL.html
probe lenet5 --batch 2 -o LONG.html
train lenet5 --data random --epochs 0 -o run0
train lenet5 --data random --epochs -1 -o run0
train lenet5 --data random --epochs BIG -o run0
train lenet5 --data random --epochs 99999999999999999999 --batch 0 -o run0
train lenet5 --data random --epochs 1 --batch BIG -o run1
train lenet5 --data digits --epochs 1 --batch 1000000000 -o run1b
train lenet5 --data digits --epochs 1 --seed -5 -o run2
train lenet5 --data digits --epochs 1 --seed BIG -o run3
train lenet5 --data digits --epochs 1 --recipe NUL -o run4
train lenet5 --data digits --epochs 1 --optimizer "sgd(lr=nan)" --batch 512 -o run5
train lenet5 --data digits --epochs 1 --optimizer lbfgs --batch 512 -o run5b
train lenet5 --data digits --epochs 1 --batch 512 -o NUL
train lenet5 --data digits --epochs 1 --batch 512 -o LONG
train lenet5 --data digits --epochs 1 --resume -o nothing_there
train NUL --data digits -o r
train lenet5 LONG --data digits -o r
predict lenet5 --device NUL
predict lenet5 --device LONG
predict lenet5 --device h100 --batch BIG
predict lenet5 --device h100 --batch 0
predict lenet5 --device h100 --batch 1000000000000000
predict lenet5 --device h100 --dtype NUL
predict lenet5 --device h100 --measured NUL
predict lenet5 --device h100 --measured /dev/zero
predict lenet5 --device h100 --measured LONG.json
predict lenet5 --device h100 --by NUL
predict lenet5 --device /dev/zero
predict lenet5 --device .
predict hf:llama-2-7b --phase decode --context BIG --device h100
predict hf:llama-2-7b --phase decode --context 1000000000000 --device h100
predict vgg16 --train --batch 1099511627776 --device h100
predict NUL --device h100
graph NUL
graph lenet5 --depth -1
graph lenet5 --depth BIG
graph lenet5 -o NUL.svg
graph lenet5 --batch BIG
graph vgg16 --batch 1099511627776
memory lenet5 --train --checkpoint NUL
memory lenet5 --train --checkpoint "((((("
memory lenet5 --train --checkpoint LONG
memory lenet5 --train --accumulate 0
memory lenet5 --train --accumulate BIG
memory lenet5 --train --accumulate -1
memory lenet5 --device /dev/zero
memory lenet5 -o LONG.csv
memory lenet5 --context 5
memory lenet5 --train --batch 99999999999999
check lenet5 --max-memory BIG --device h100
check lenet5 --max-latency nan --device h100
""".splitlines()
    if line
]
