"""Pages are filled: no new version of a row can stay beside the old one for free (HOT), for each of the two updates
changes a column that an index needs. A free fifth only made the table larger; what is dead is removed by tend()."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("outbox", "0009_positions_indexed_when_given")]

    operations = [
        migrations.RunSQL(
            sql="ALTER TABLE outbox_entry RESET (fillfactor)",
            reverse_sql="ALTER TABLE outbox_entry SET (fillfactor = 80)",
        )
    ]
