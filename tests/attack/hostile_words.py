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
""".splitlines()
    if line
]
