"""Make what was said before there was search known to it."""

from django.db import migrations


def index_messages(apps, schema_editor):
    # Only where there is something: the service reads today's models, which a new database does not have yet.
    if apps.get_model("runners", "Message").objects.exists():
        from runners.services.search_index import index_the_rest

        index_the_rest()


class Migration(migrations.Migration):

    dependencies = [("runners", "0015_search")]

    operations = [migrations.RunPython(index_messages, migrations.RunPython.noop, elidable=True)]
