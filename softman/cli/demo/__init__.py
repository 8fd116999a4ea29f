"""``softman demo``: the main job from end to end on real servers, shown live.

``command`` starts and cleans up, ``story`` is what happens, ``narrator`` what is printed; ``tree``, ``bucket``,
``canary`` and ``watch`` are the tools of the story.
"""
