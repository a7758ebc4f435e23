"""Stand-in of rclpy, sensor_msgs and std_msgs: sensors that publish at a rate, and a record of what is published.

The environment variable ROS_PARAMETERS has the parameters, as JSON, and ROS_RECORD the file for the record: a line for
each call that the node makes, of its kind and its arguments.
"""

import json
import os
import sys
import threading
import time
import types

import numpy as np

PERIOD_S = 0.01
_record, _lock, _subscriptions = open(os.environ["ROS_RECORD"], "w"), threading.Lock(), {}


def note(*words):
    with _lock:
        print(json.dumps(words), file=_record, flush=True)


class Message(types.SimpleNamespace):
    pass


class Image(Message):
    pass


class JointState(Message):
    pass


class Float64MultiArray:
    def __init__(self, *, data):
        assert type(data) is list and all(type(number) is float for number in data)
        self.data = data


class SignalHandlerOptions:
    NO = "no"


class Node:
    def __init__(self, name):
        self.name = name

    def declare_parameter(self, name, default):
        value = json.loads(os.environ["ROS_PARAMETERS"]).get(name, default)
        assert type(value) is type(default), name  # as ROS has it
        return types.SimpleNamespace(value=value)

    def create_subscription(self, kind, topic, callback, depth):
        _subscriptions[topic] = kind, callback
        note("subscribe", topic, kind.__name__)

    def create_publisher(self, kind, topic, depth):
        return types.SimpleNamespace(publish=lambda message: note("publish", topic, message.data))

    def get_logger(self):
        return types.SimpleNamespace(info=lambda text: note("log", text))


def init(*, signal_handler_options):
    note("init", signal_handler_options)


def camera(number: int, height: int, width: int, encoding: str) -> Image:
    """Return a picture whose rows are padded, as drivers do it."""
    pixels = np.random.default_rng(number).integers(256, size=(height, width, 3), dtype=np.uint8)
    rows = np.zeros((height, 3 * width + 5), np.uint8)
    rows[:, : 3 * width] = pixels.reshape(height, -1)
    return Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=rows.tobytes())


def spin(node):
    """Publish forever; after ROS_SILENT_AFTER rounds, the joints say nothing."""
    silent = int(os.environ.get("ROS_SILENT_AFTER", "1000000"))
    for number in range(1_000_000):
        for topic, (kind, callback) in _subscriptions.items():
            if kind is JointState and number < silent:
                callback(JointState(name=["c", "a", "b"], position=[0.3, 0.1, 0.2]))
            elif kind is Image:
                callback(camera(0, *json.loads(os.environ["ROS_CAMERAS"])[topic]))
        time.sleep(PERIOD_S)


def module(name, **content):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(content)


module("rclpy.node", Node=Node)
module("rclpy.signals", SignalHandlerOptions=SignalHandlerOptions)
module("sensor_msgs")
module("sensor_msgs.msg", Image=Image, JointState=JointState)
module("std_msgs")
module("std_msgs.msg", Float64MultiArray=Float64MultiArray)
