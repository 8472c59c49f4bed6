import django.db.models.deletion
from django.db import migrations, models


def name_forks(apps, schema_editor):
    """A session that names another one was a fork: there was no other way to get one."""
    apps.get_model("runners", "Session").objects.filter(resumed_from__isnull=False).update(began="forked")


class Migration(migrations.Migration):

    dependencies = [
        ('runners', "0017_transcripts"),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='anchor',
            field=models.CharField(blank=True, help_text="The program's own id of this place; it can be forked from here.", max_length=100),
        ),
        migrations.AddField(
            model_name='message',
            name='call_id',
            field=models.CharField(blank=True, help_text='Of the use of a tool and of its result: the same, as far as known.', max_length=100),
        ),
        migrations.AddField(
            model_name='session',
            name='began',
            field=models.CharField(choices=[('new', 'New'), ('forked', 'Forked'), ('rebuilt', 'Rebuilt from the transcript')], default='new', max_length=10),
        ),
        migrations.AddField(
            model_name='session',
            name='forked_at',
            field=models.ForeignKey(blank=True, help_text='The last message of that session which it knows; empty: all.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='runners.message'),
        ),
        migrations.AddField(
            model_name='session',
            name='rebuilt_because',
            field=models.CharField(blank=True, help_text='Why the program could not go on in its own conversation.', max_length=200),
        ),
        migrations.AlterField(
            model_name='message',
            name='session',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='messages', to='runners.session'),
        ),
        migrations.AlterField(
            model_name='session',
            name='resumed_from',
            field=models.ForeignKey(blank=True, help_text='The session of which it is a fork, or from whose transcript it was rebuilt.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='resumed_by', to='runners.session'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['session', 'id'], name='message_in_order'),
        ),
        migrations.AddConstraint(
            model_name='session',
            constraint=models.CheckConstraint(condition=models.Q(('began__in', ['new', 'forked', 'rebuilt'])), name='session_began_known'),
        ),
        migrations.RunPython(name_forks, migrations.RunPython.noop, elidable=True),
    ]
