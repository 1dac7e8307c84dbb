from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shopsearch', '0018_rerank_reasons'),
    ]

    operations = [
        migrations.AddField(
            model_name='ruleaction',
            name='value',
            field=models.CharField(blank=True, help_text='To move all products with this value of a filter up, or to the end: such as "brand=Kerb" or "in_stock=no". What is said of a single product counts before it.', max_length=200, verbose_name="filter's value"),
        ),
    ]
