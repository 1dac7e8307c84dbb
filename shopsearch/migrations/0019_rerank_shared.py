from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shopsearch', '0018_reasons_and_rule_values'),
    ]

    operations = [
        migrations.AddField(
            model_name='rerank',
            name='shared',
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict, verbose_name='shared'),
        ),
    ]
