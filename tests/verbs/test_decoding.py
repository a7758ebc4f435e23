"""The flags that say how an agent samples: one way each, and nothing that contradicts itself."""

import pytest
from absl import flags

from gato_jax.evaluation import PlayedBy
from gato_jax.policy import Greedy, Temperature, TopK, TopP
from gato_jax.verbs.decoding import define_decoding, read_sampling
from gato_jax.verbs.flags import parse_flags
from gato_jax.verbs.usage import UsageError


def read(*words):
    flag = flags.FlagValues()
    define_decoding(flag)
    parse_flags(flag, ["evaluate", *words])
    return read_sampling(flag)


@pytest.mark.parametrize(
    ("words", "sampling", "said"),
    [
        ([], Temperature(), {"temperature": 1.0}),
        (["--temperature=0.5"], Temperature(temperature=0.5), {"temperature": 0.5}),
        (["--temperature=0"], Greedy(), {"temperature": 0.0}),
        (["--greedy"], Greedy(), {"temperature": 0.0}),
        (["--top_k=5"], TopK(k=5), {"temperature": 1.0, "top_k": 5}),
        (["--top_p=0.9", "--temperature=2"], TopP(p=0.9, temperature=2.0), {"temperature": 2.0, "top_p": 0.9}),
    ],
)
def test_the_flags_are_one_way_to_sample_that_results_name(words, sampling, said):
    assert read(*words) == sampling and sampling.to_json() == said
    played_by = PlayedBy(step=3, digest="f" * 16, **sampling.to_json())
    assert played_by.to_json() == {"step": 3, "digest": "f" * 16, **said}
    assert PlayedBy(**played_by.to_json()) == played_by


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--top_k=5", "--top_p=0.5"], "--top_k is 5 and --top_p is 0.5, expected one of them. Leave one out."),
        (["--greedy", "--top_k=5"], "--greedy is True and --top_k is 5, expected one of them. Leave one out."),
        (["--greedy", "--temperature=2"], "--temperature is 2.0 and --greedy is True, expected one of them."),
        (["--temperature=0", "--top_p=0.5"], "--temperature is 0.0 and --top_p is 0.5, expected one of them."),
        (["--greedy", "--top_k=5", "--top_p=0.5"], "and --top_p is 0.5, expected one of them. Leave the others out."),
    ],
)
def test_flags_that_contradict_each_other_are_refused(words, said):
    with pytest.raises(UsageError, match=said):
        read(*words)


@pytest.mark.parametrize("word", ["--top_k=0", "--top_p=0", "--top_p=1.5"])
def test_numbers_out_of_range_are_refused(word):
    with pytest.raises(UsageError, match=word):
        read(word)
