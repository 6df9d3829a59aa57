"""A run for every day: its new files are prepared, then training goes on from the model of the day before.

A task that is tried again goes on where the run was; days wait for each other.
"""
import json
import pathlib
from datetime import datetime, timedelta

from airflow import DAG
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.timetables.interval import CronDataIntervalTimetable

SUBMIT = json.loads((pathlib.Path(__file__).parent / "spark_submit.json").read_text())

with DAG(
    "ulysses",
    # {{ ds }} is the day that is over; Airflow 3 takes "@daily" for the day that begins.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=True,  # days that were missed are made up for, one after the other
    max_active_runs=1,
    default_args={"depends_on_past": True, "retries": 3, "retry_delay": timedelta(minutes=5)},
):
    run = [*SUBMIT["run"], "--date", "{{ ds }}"]
    prepare = SparkSubmitOperator(task_id="prepare", application_args=["prepare", *run, "--device", "cpu"], **SUBMIT["prepare"])
    trained = [*run, "--device", SUBMIT["device"]]
    train = SparkSubmitOperator(task_id="train", application_args=["train", *trained], **SUBMIT["operator"])
    prepare >> train
