"""Levels of MiniWorld and ViZDoom that stand for levels of DM Lab, which has no package for current Pythons.

Each level stands for one level of DM Lab at most, the nearest in what is to be done; the layouts, controls and rewards
differ, so that scores do not compare. No level has language, so that the language levels have no substitute, nor have
the psychological tests of PsychLab.
"""

from __future__ import annotations

SUBSTITUTES = {  # {task of DM Lab: registered task that stands for it}
    "dm_lab/explore_goal_locations_large": "miniworld/Maze-v0",  # a goal in a large maze
    "dm_lab/explore_goal_locations_small": "miniworld/MazeS3-v0",  # a goal in a small maze
    "dm_lab/explore_object_locations_large": "vizdoom/my_way_home",  # an object in a network of rooms
    "dm_lab/explore_object_locations_small": "miniworld/FourRooms-v0",  # an object in one of a few rooms
    "dm_lab/explore_object_rewards_few": "vizdoom/health_gathering",  # things that are good to collect
    "dm_lab/explore_object_rewards_many": "vizdoom/health_gathering_supreme",  # things good and bad to collect
    "dm_lab/explore_obstructed_goals_large": "vizdoom/deadly_corridor",  # a goal whose way is barred
    "dm_lab/explore_obstructed_goals_small": "miniworld/WallGap-v0",  # a goal behind a wall with a gap
    "dm_lab/lasertag_one_opponent_large": "vizdoom/predict_position",  # one opponent, who moves, in the distance
    "dm_lab/lasertag_one_opponent_small": "vizdoom/basic",  # one opponent in a room
    "dm_lab/lasertag_three_opponents_large": "vizdoom/deathmatch",  # several opponents in an arena
    "dm_lab/lasertag_three_opponents_small": "vizdoom/defend_the_center",  # several opponents around
    "dm_lab/natlab_varying_map_regrowth": "miniworld/CollectHealth-v0",  # things to collect, which grow again
    "dm_lab/rooms_collect_good_objects_test": "miniworld/PickupObjects-v0",  # objects to collect in a room
    "dm_lab/rooms_keys_doors_puzzle": "miniworld/PutNext-v0",  # an object to carry where it is needed
    "dm_lab/rooms_select_nonmatching_object": "miniworld/Sign-v0",  # the right one of several objects, by a cue
    "dm_lab/rooms_watermaze": "miniworld/OneRoom-v0",  # a place to find in a room
    "dm_lab/skymaze_irreversible_path_varied": "miniworld/Sidewalk-v0",  # a path that must not be left
}
