from kfp import dsl

@dsl.pipeline(
    name='llm-training-pipeline',
    description='LLM training pipeline'
)
def llm_training_pipeline():
    # preprocess
    preprocess = dsl.ContainerOp(
        name='preprocess',
        image='preprocess:latest',
        command=['python', 'preprocess.py'],
        arguments=['--input', '/data/raw', '--output', '/data/processed']
    )

    # train
    train = dsl.ContainerOp(
        name='train',
        image='train:latest',
        command=['python', 'train.py'],
        arguments=['--data', '/data/processed', '--output', '/models/llm'],
        resources={
            'gpu': 1,
            'memory': '32Gi'
        }
    )
    train.after(preprocess)

    # validate
    validate = dsl.ContainerOp(
        name='validate',
        image='validate:latest',
        command=['python', 'validate.py'],
        arguments=['--model', '/models/llm', '--data', '/data/test']
    )
    validate.after(train)
