"""Vectors of chunks. The extension is one that the database's owner may create (it is marked as trusted)."""

import django.db.models.deletion
import pgvector.django.halfvec
from django.db import migrations, models
from django.db.utils import NotSupportedError
from pgvector.django import VectorExtension


def check_version(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        version = cursor.fetchone()[0]
    # Half precision came with 0.7, the scan that goes on until the filters are satisfied with 0.8.
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise NotSupportedError(f"pgvector is {version} in this database, 0.8 or newer is needed: ALTER EXTENSION vector UPDATE.")


class Migration(migrations.Migration):

    dependencies = [
        ('runners', '0018_calls_and_beginnings'),
    ]

    operations = [
        VectorExtension(),
        migrations.RunPython(check_version, migrations.RunPython.noop, elidable=True),
        migrations.CreateModel(
            name='EmbeddingModel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('embedder', models.CharField(help_text='By which setting it is reached.', max_length=40)),
                ('name', models.CharField(max_length=200)),
                ('dimension', models.PositiveIntegerField(blank=True, help_text='Empty: until its first answer.', null=True)),
                ('shortened', models.BooleanField(default=False, help_text="The dimension is asked for, not the model's own.")),
                ('in_use', models.BooleanField(default=True, help_text='What is said gets a vector of it.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('ready_at', models.DateTimeField(blank=True, help_text='When all that there was had its vector.', null=True)),
                ('embedded_at', models.DateTimeField(blank=True, help_text='When it last gave vectors.', null=True)),
                ('failures', models.PositiveIntegerField(default=0, help_text='Since it last gave vectors.')),
                ('paused_until', models.DateTimeField(blank=True, help_text='Not asked again before.', null=True)),
                ('last_error', models.TextField(blank=True)),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('embedder', 'name', 'dimension'), name='embedding_model_once', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('dimension__isnull', True), models.Q(('dimension__gte', 1), ('dimension__lte', 4000)), _connector='OR'), name='embedding_dimension_indexable')],
            },
        ),
        migrations.CreateModel(
            name='ChunkVector',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('embedding', pgvector.django.halfvec.HalfVectorField()),
                ('chunk', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='vectors', to='runners.messagechunk')),
                ('model', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='vectors', to='runners.embeddingmodel')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('chunk', 'model'), name='chunk_vector_once')],
            },
        ),
        migrations.CreateModel(
            name='WaitingChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('due_at', models.DateTimeField(blank=True, help_text='Empty: given up.', null=True)),
                ('attempts', models.PositiveIntegerField(default=0, help_text='From one on it is tried alone.')),
                ('error', models.TextField(blank=True)),
                ('chunk', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='waiting', to='runners.messagechunk')),
                ('model', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='waiting', to='runners.embeddingmodel')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('chunk', 'model'), name='waiting_chunk_once')],
            },
        ),
    ]
