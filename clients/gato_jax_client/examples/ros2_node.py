"""A ROS 2 node that drives an arm with the agent behind `gato serve`: images and joint states in, commands out.

    python3 ros2_node.py --ros-args -p address:=ws://gpu-machine:8000 -p token_file:=token -p task:=my_lab/pick \
        -p images:="[camera/front=/front/image_raw]" -p joints:=joints=/joint_states -p joint_names:="[a, b, c]" \
        -p command:=/arm/commands -p safe_action:="[0.0, 0.0, 0.0]" -p rate_hz:=20.0

Images and joints are KEY=TOPIC, with keys of the task. Ctrl-C, silent sensors and faults end with the safe action.
"""

import threading
import time

import numpy as np
import rclpy  # pyright: ignore[reportMissingImports]
from rclpy.node import Node  # pyright: ignore[reportMissingImports]
from rclpy.signals import SignalHandlerOptions  # pyright: ignore[reportMissingImports]
from sensor_msgs.msg import Image, JointState  # pyright: ignore[reportMissingImports]
from std_msgs.msg import Float64MultiArray  # pyright: ignore[reportMissingImports]

from gato_jax_client import ControlLoop, PolicyClient, Smoothing, from_vector, read_secret, to_vector
from gato_jax_client.image_fit import fit_pixels

PARAMETERS = {"address": "ws://127.0.0.1:8000", "token_file": "token", "task": "", "instruction": "", "images": [""],
              "joints": "", "joint_names": [""], "command": "/commands", "safe_action": [0.0], "rate_hz": 20.0,
              "smoothing": "hold", "max_age_s": 0.5, "seconds": 1e9}  # fmt: skip


class Arm(Node):
    """The sensors and the commands of an arm, as topics."""

    def __init__(self):
        super().__init__("gato")
        self.of = {name: self.declare_parameter(name, default).value for name, default in PARAMETERS.items()}
        task, self.seen = self.of["task"] or None, {}
        self.client = PolicyClient(self.of["address"], token=read_secret(self.of["token_file"]), task=task)
        self.commands = self.create_publisher(Float64MultiArray, self.of["command"], 1)
        for kind, pair in [(JointState, self.of["joints"]), *((Image, pair) for pair in self.of["images"])]:
            key, _, topic = pair.partition("=")
            if key:
                self.seen[key] = None
                self.create_subscription(kind, topic, lambda m, k=key: self.seen.update({k: (time.monotonic(), m)}), 1)

    def observe(self):
        return {key: self.read(key, modality) for key, modality in self.client.spec["observation"].items()}

    def read(self, key, modality):
        if modality["kind"] == "text":
            return self.of["instruction"]
        since, message = self.seen[key]
        if time.monotonic() - since > self.of["max_age_s"]:
            raise RuntimeError(f"{key}: no message for {self.of['max_age_s']} s. Look at its topic.")
        if modality["kind"] != "image":
            return np.array([message.position[message.name.index(name)] for name in self.of["joint_names"]], np.float32)
        if message.encoding not in ("rgb8", "bgr8"):
            raise ValueError(f"{key}: the encoding is {message.encoding}, expected rgb8 or bgr8.")
        rows = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.step)
        image = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
        image = np.ascontiguousarray(image[..., :: 1 if message.encoding == "rgb8" else -1])
        return fit_pixels(image, modality["height"], modality["width"], modality["fit"])

    def apply(self, action):
        self.commands.publish(Float64MultiArray(data=to_vector(action).tolist()))

    def run(self):
        while None in self.seen.values():
            time.sleep(0.01)
        safe, smoothing = from_vector(self.client.spec, self.of["safe_action"]), Smoothing(method=self.of["smoothing"])
        loop = ControlLoop(self.client, self, rate_hz=self.of["rate_hz"], safe_action=safe, smoothing=smoothing)
        self.get_logger().info(str(loop.run(seconds=self.of["seconds"])))


rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # or Ctrl-C would end ROS before the safe action
arm = Arm()
threading.Thread(target=rclpy.spin, args=(arm,), daemon=True).start()
arm.run()
