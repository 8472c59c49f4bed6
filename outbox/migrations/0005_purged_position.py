from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("outbox", "0004_audit_check"),
    ]

    operations = [
        migrations.RunSQL(
            # The highest position that retention has deleted. A sequence, as it is one number that only grows.
            sql="CREATE SEQUENCE outbox_purged AS bigint MINVALUE 0 START 0 OWNED BY outbox_entry.sequence",
            reverse_sql="DROP SEQUENCE outbox_purged",
        ),
    ]
