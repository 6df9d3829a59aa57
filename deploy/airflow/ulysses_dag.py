"""A nightly run: prepare on the cluster, then train. A task that is tried again goes on where the run was."""
import json
import pathlib
from datetime import datetime, timedelta

from airflow import DAG
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

SUBMIT = json.loads((pathlib.Path(__file__).parent / "spark_submit.json").read_text())

with DAG(
    "ulysses",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
):
    prepare = SparkSubmitOperator(task_id="prepare", application_args=["prepare", *SUBMIT["run"]], **SUBMIT["operator"])
    train = SparkSubmitOperator(task_id="train", application_args=["train", *SUBMIT["run"]], **SUBMIT["operator"])
    prepare >> train
