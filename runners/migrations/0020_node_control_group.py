"""What control groups a node's runners get."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("runners", "0019_vectors")]

    operations = [
        migrations.AddField(
            model_name="node",
            name="control_group",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="cgroup v2 that its runners get: {path, controllers, kill}; empty: none.",
            ),
        ),
    ]
