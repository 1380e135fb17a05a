"""Records with headers, into Kafka, by what Flink's SQL has for it.

The builder of a sink takes a Java object that says what the headers of a record are. Flink's Python
cannot make one; SQL's sink has its own way, headers being a map: of several of one name in a record
the last is kept, and none without a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway
from pyflink.table.types import DataTypes, _to_java_data_type

_TABLES = "org.apache.flink.streaming.connectors.kafka.table"


def table_rows(stream: DataStream) -> DataStream:
    """A stream of `HEADED` as rows of a table, which is what `headed_schema` takes."""
    python = get_gateway().jvm.org.apache.flink.python.util.PythonConnectorUtils
    return DataStream(stream._j_data_stream.process(python.RowRowMapper(_table())))  # noqa: SLF001


def headed_schema(topic: str) -> Any:
    """What makes records of a topic from `table_rows`: an object of Java."""
    jvm = get_gateway().jvm
    table, raw = jvm.org.apache.flink.table.data, jvm.org.apache.flink.formats.raw
    loader = jvm.Thread.currentThread().getContextClassLoader()
    kind = _table().getLogicalType().getTypeAt(0)
    fields = [
        _array(table.RowData.FieldGetter, [table.RowData.createFieldGetter(kind, place)])
        for place in range(2)
    ]
    key, value = (raw.RawFormatSerializationSchema(kind, "UTF-8", True) for _ in range(2))
    known = jvm.Class.forName(f"{_TABLES}.KafkaDynamicSink$WritableMetadata", True, loader)
    places = [2 if each.toString() == "HEADERS" else -1 for each in known.getEnumConstants()]
    made = jvm.Class.forName(f"{_TABLES}.DynamicKafkaRecordSerializationSchema", True, loader)
    (constructor,) = made.getDeclaredConstructors()
    # It is SQL's own, and not public.
    constructor.setAccessible(True)
    topics = jvm.java.util.Collections.singletonList(topic)
    arguments = [topics, None, None, key, value, *fields, True, _array(jvm.int, places), False]
    return constructor.newInstance(_array(jvm.Object, arguments))


def _table() -> Any:
    """The type of `HEADED` as a row of a table."""
    fields = {
        "key": DataTypes.BYTES(),
        "value": DataTypes.BYTES(),
        "headers": DataTypes.MAP(DataTypes.STRING(), DataTypes.BYTES()),
    }
    return _to_java_data_type(DataTypes.ROW([DataTypes.FIELD(*each) for each in fields.items()]))


def _array(kind: Any, values: Sequence[Any]) -> Any:
    """An array of Java."""
    made = get_gateway().new_array(kind, len(values))
    for place, value in enumerate(values):
        made[place] = value
    return made
