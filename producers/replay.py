"""Real data from files, sent as events of one topic.

The whole file is read and every line judged by lakehouse.decode before the first one is sent; the events are held in
memory, some 500 bytes a line, the file itself is not. A line's event_id is a hash of the file's content and the line's
number: a second replay of the same file at the same times adds nothing, and two equal lines stay two events.
"""

from lakehouse.sinks import Sink
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from producers.lines import Lines, text_of
from producers.pace import Clock, deliver, iso, paced
from producers.progress import progress


def replay(lines: Lines, sink: Sink, clock: Clock, stop: Stop, rate: float | None = None) -> int:
    """Send the lines in order of their times, `rate` a second; how many were sent. Raises SinkError.

    produced_at is the moment of sending.
    """
    name = TOPICS[lines.topic].time.encode()
    # By time and not by line: the CDNOW file is sorted by customer, and every batch would touch all its 545 days.
    order = sorted(range(len(lines.times)), key=lines.times.__getitem__)
    sent = 0
    with progress(f"{lines.file.name} sent", len(order), clock) as advance:
        for batch in paced(len(order), rate, clock, stop):
            produced_at = iso(clock.now()).encode()
            for place in batch:
                index = order[place]
                time = text_of(lines.times[index]).encode()
                value = b'%b,"%b":"%b","produced_at":"%b"}' % (lines.bodies[index], name, time, produced_at)
                sink.send(lines.topic, lines.keys[index], value)
            deliver(sink, clock, stop)
            sent += len(batch)
            advance(len(batch))
    return sent
