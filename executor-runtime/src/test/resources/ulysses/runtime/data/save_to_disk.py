"""Makes the folders beside it with Hugging Face datasets (5.2.0): python save_to_disk.py"""

from datasets import Dataset, Features, LargeList, List, Value

ids = [[5, 6, 7, 8, 9, 0, 0, 0], [11, 12, 13], [21, 22, 23, 24, 25, 26, 27, 28]]
labels = [[-100, 6, 7, 8, 9, -100, -100, -100], [-100, 12, 13], [-100, 22, 23, 24, -100, 26, 27, 28]]

# What transformers users save: int32 ids, int8 0/1 masks, int64 labels, a text column between them; two files.
Dataset.from_dict(
    {
        "text": ["one", "two", "drei"],
        "input_ids": ids,
        "attention_mask": [[1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 1], [1] * 8],
        "labels": labels,
    },
    features=Features(
        {
            "text": Value("string"),
            "input_ids": List(Value("int32")),
            "attention_mask": List(Value("int8")),
            "labels": List(Value("int64")),
        }
    ),
).save_to_disk("foreign-masked", num_shards=2)

# LLaMA-Factory's neat_packing: document numbers in the mask, positions that restart.
Dataset.from_dict(
    {
        "input_ids": ids,
        "attention_mask": [[1, 1, 1, 2, 2, 0, 0, 0], [1, 1, 1], [1, 1, 1, 1, 2, 2, 3, 3]],
        "position_ids": [[0, 1, 2, 0, 1, 0, 0, 0], [0, 1, 2], [0, 1, 2, 3, 0, 1, 0, 1]],
        "labels": labels,
    }
).save_to_disk("foreign-numbered")

# Large lists, positions only.
Dataset.from_dict(
    {
        "input_ids": ids,
        "labels": labels,
        "position_ids": [[0, 1, 2, 0, 1, 0, 1, 2], [0, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7]],
    },
    features=Features(
        {
            "input_ids": LargeList(Value("int64")),
            "labels": LargeList(Value("int32")),
            "position_ids": LargeList(Value("int64")),
        }
    ),
).save_to_disk("foreign-positions")

# Lists of equal length.
Dataset.from_dict(
    {"input_ids": [[1, 2, 3, 4], [5, 6, 7, 8]], "labels": [[-100, 2, 3, 4], [5, 6, 7, 8]], "seq_lengths": [[3, 1], [4]]},
    features=Features(
        {
            "input_ids": List(Value("int64"), length=4),
            "labels": List(Value("int64"), length=4),
            "seq_lengths": List(Value("int64")),
        }
    ),
).save_to_disk("foreign-fixed")
