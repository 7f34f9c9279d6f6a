"""What type checkers refuse: each line that ends with `# wrong`, and no other. Nothing runs this file."""

from __future__ import annotations

import lakegate
from events import Events, LessonStartedV1

client = lakegate.Client("https://events.example.com", when_full="wait")  # wrong
events = Events(client)
missing: LessonStartedV1 = {"lesson_id": "l-1", "course_id": "c-1", "attempt_number": 1}  # wrong
kind: LessonStartedV1 = {"lesson_id": "l-1", "course_id": "c-1", "student_id": "s", "attempt_number": "1"}  # wrong
spelt: LessonStartedV1 = {"lesson_id": "l", "course_id": "c", "student_id": "s", "attempt_number": 1, "lesson": 1}  # wrong
events.track("lesson:stopped", lesson_id="l-1")  # wrong
events.track("lesson:started", lesson_id="l-1", course_id="c-1", student_id="s")  # wrong
events.track("lesson:started", lesson_id=1, course_id="c-1", student_id="s", attempt_number=1)  # wrong
events.track("lesson:started", lesson_id="l", course_id="c", student_id="s", attempt_number=1, schema_version=9)  # wrong
