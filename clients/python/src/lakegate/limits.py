"""Every number of the package, each with its reason."""

from typing import Final

# Events in one request. Why: the gateway takes 10,000, and a batch of 500 already costs it little more than it must.
BATCH_EVENTS: Final = 500
# Bytes of one request before gzip. Why: a quarter of what the gateway takes as sent, so that plain requests fit too.
BATCH_BYTES: Final = 1_000_000
# Bytes of one event. Why: the gateway's own limit for a server key is 1,040,384; a larger event would only be rejected there.
EVENT_BYTES_MAX: Final = 1_000_000
# Seconds that an event waits for others. Why: short enough for a person who watches, long enough to fill requests.
FLUSH_SECONDS: Final = 1.0

# Bytes that may wait in memory. Why: 200,000 usual events, and less than a worker of a web application has.
MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024
# What Python needs for an event beside its bytes. Why: without it a million tiny events would not count.
MEMORY_BYTES_PER_EVENT: Final = 150
# What a request has for an event beside its bytes. Why: one event a line.
LINE_END_BYTES: Final = 1
# Bytes that may wait on disk, in the folders of this process. Why: hours of 100 events a second, on any disk.
DISK_BYTES_MAX: Final = 1024 * 1024 * 1024
# Bytes of one file of the queue. Why: settled files are removed whole, so a file is what a crash leaves behind at most.
SEGMENT_BYTES: Final = 4 * 1024 * 1024
# Bytes that are read from a file of the queue at once. Why: a batch or two; the rest of the queue stays out of memory.
READ_BYTES: Final = 2 * 1024 * 1024
# Bytes of `rejected.ndjson` and `damaged.lines`. Why: what nobody reads must not fill the disk.
ASIDE_BYTES_MAX: Final = 64 * 1024 * 1024
# Seconds between two looks for folders of dead processes. Why: soon after a crash, and not felt by the disk.
ADOPT_SECONDS: Final = 10.0
# Folders of dead processes that one process works off at a time. Why: each is an open file.
ADOPTED_FOLDERS_MAX: Final = 64
# Age of a folder without a lock file at which it is removed. Why: whoever is making it needs milliseconds.
UNLOCKED_FOLDER_SECONDS: Final = 3600.0

# Seconds for one step of a request: connect, send, read. Why: the gateway itself answers within 25.
TIMEOUT_SECONDS: Final = 30.0
# Idle seconds after which a connection is not used again. Why: the gateway closes at 75, load balancers at 60.
IDLE_SECONDS_MAX: Final = 50.0
# The first and the longest pause after failures, halved by chance. Why: quick after a restart, calm in an outage.
BACKOFF_SECONDS: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 30.0
# The pause where only a person can help, such as a wrong key. Why: soon after the mend, and no load until then.
HOLD_SECONDS: Final = 60.0
# Events, and their bytes, that wait for their own next turn while others are sent. Why: a few bad ones must not hold up the rest;
# they are in memory, also those of a queue on disk.
LATER_EVENTS_MAX: Final = 5000
LATER_BYTES_MAX: Final = 16 * 1024 * 1024
# The longest `Retry-After` that is obeyed. Why: a proxy's mistake must not stop a sender for days.
RETRY_AFTER_SECONDS_MAX: Final = 3600.0
# Bytes of an answer that are read. Why: the gateway's are below 300 KiB; another's may have no end.
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
# How many times smaller gzip may make a body. Why: the gateway refuses 64; a body that packs better is sent plain.
GZIP_RATIO_MAX: Final = 32
# Body size from which gzip is used. Why: below it the header is larger than what is saved.
GZIP_BYTES_MIN: Final = 512
# Different rejections that are logged. Why: one line for each kind is enough, and the kinds must not fill the memory.
LOGGED_KINDS_MAX: Final = 100
# Seconds that the end of the process waits for what is queued. Why: a deployment kills after ten.
EXIT_SECONDS: Final = 5.0
