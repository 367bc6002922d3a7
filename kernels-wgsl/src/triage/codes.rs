//! The stable codes of diagnostics: a code, once given, keeps its meaning.

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($variant:ident $id:literal $name:literal $why:literal;)*) => {
        /// What kind of fault a diagnostic is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("`", $id, " ", $name, "`: ", $why)] $variant,)*
        }

        impl Code {
            /// Every code, by rising number.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code itself, such as `CK001`.
            pub fn id(self) -> &'static str {
                match self { $(Code::$variant => $id,)* }
            }

            /// A few words, such as `tied-head-contradiction`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// What the fault does and why it happens.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$variant => $why,)* }
            }
        }
    };
}

codes! {
    TiedHead "CK001" "tied-head-contradiction"
        "The configuration says that the output head is the embedding table (tie_word_embeddings true or \
         absent) while the files hold a head of their own, or says that it is not while they hold none, or says \
         one thing at the top level and another in text_config. Loaders then ignore the head that was trained or \
         quantised, or fail; both places must say what the files hold.";
    ConfigUnreadable "CK002" "config-unreadable"
        "config.json is missing, is no JSON object, or names a key twice. Nothing can be checked against it.";
    UnknownFamily "CK003" "unknown-family"
        "model_type names no Gemma text model that this engine runs.";
    MissingKey "CK004" "missing-config-key"
        "A key is absent whose default in common loaders is another model's value, so that the checkpoint loads \
         as something it is not or not at all.";
    BadValue "CK005" "bad-config-value"
        "A key holds a value of the wrong type or out of range.";
    SizeKey "CK006" "size-key-contradiction"
        "A width or count in the configuration disagrees with the tensors, which agree among themselves.";
    LayerTypes "CK007" "layer-types-contradiction"
        "layer_types has another length than num_hidden_layers, names an unknown type, or calls layers sliding \
         whose norms have the width of full ones.";
    KvSharing "CK008" "kv-sharing-contradiction"
        "num_kv_shared_layers leaves no layer that writes a cache, or shares layers of a kind that no earlier \
         layer has.";
    KeyIsValue "CK009" "k-eq-v-contradiction"
        "attention_k_eq_v disagrees with the tensors: full layers without v_proj take the raw key projection as \
         their values, full layers with one do not.";
    LayerOverride "CK010" "per-layer-config-contradiction"
        "per_layer_config and global_head_dim or num_global_key_value_heads say different things about one layer.";
    Window "CK011" "sliding-window-suspect"
        "sliding_window is longer than the context or not the one the family was trained with; the model is fine \
         at short contexts and worse beyond the true window.";
    PerLayerEmbedding "CK012" "per-layer-embedding-contradiction"
        "hidden_size_per_layer_input or vocab_size_per_layer_input disagrees with the table, or one of the two \
         is there without the other. The key's default in common loaders is 256, not 0.";
    Experts "CK013" "experts-contradiction"
        "enable_moe_block and its numbers disagree with the expert tensors.";
    Quantisation "CK014" "quantization-contradiction"
        "quantization_config disagrees with the tensors: packed weights without it, none with it, another group \
         size or bit width, or an ignore list that names a module that is quantised.";
    Rotation "CK015" "rotation-suspect"
        "Rotary parameters are not the family's. A wrong base or fraction reads as a model that gets worse with \
         distance.";
    LogitCap "CK016" "softcap-suspect"
        "Gemma 4 caps its final logits at 30, Gemma 3 caps none. Greedy decoding does not notice, sampling does.";
    AttentionScale "CK017" "attention-scale-suspect"
        "Gemma 4 multiplies queries and keys with scale 1, Gemma 3 with query_pre_attn_scalar^-1/2. The wrong one \
         gives fluent output that ignores its context.";
    NestedConfig "CK018" "nested-config-contradiction"
        "A key stands both at the top level and in text_config with different values, so that loaders differ.";
    MissingTensor "CK021" "missing-tensor"
        "A tensor that the model computes with is in no file.";
    WrongShape "CK022" "wrong-shape"
        "A tensor's shape is not the one that the configuration and the other tensors ask for.";
    UnknownTensor "CK023" "unknown-tensor"
        "A tensor belongs to no part of the model. It is not read.";
    DuplicateTensor "CK024" "duplicate-tensor"
        "A name stands twice, in one header or in two files; which of the two a loader takes is chance.";
    Dtype "CK025" "dtype-surprise"
        "A tensor's number type is not one that its role allows, or not what the rest of the file uses.";
    WeightsCorrupt "CK026" "weights-corrupt"
        "A weights file is missing, cut off, or its header contradicts it.";
    ShardIndex "CK027" "shard-index-contradiction"
        "The index names a file that is not there or not in the folder, or places a tensor in another file than \
         the one that holds it.";
    NonFinite "CK028" "non-finite-weights"
        "Weights hold NaN or infinity. One such value reaches every later token through the residual.";
    DeadWeights "CK029" "dead-weights"
        "A tensor is all zeros or one constant: it was never written, or pruned away.";
    LayerScalar "CK030" "layer-scalar-suspect"
        "layer_scalar multiplies the whole residual. Published Gemma 4 models have values other than 1 in most \
         layers; a zero ends the model there.";
    NormConvention "CK031" "norm-convention"
        "Gemma 3 stores norm weights as w and multiplies with 1 + w, Gemma 4 stores and multiplies with w. A file \
         converted with the other family's rule is off in every layer.";
    Scales "CK032" "quantization-scales"
        "Scales of quantised weights are not finite, or all zero.";
    NoTokenizer "CK040" "no-tokenizer"
        "There is no tokenizer.json: the model runs on token ids only.";
    TokenizerUnreadable "CK041" "tokenizer-unreadable"
        "tokenizer.json cannot be read.";
    TokenizerVocabulary "CK042" "tokenizer-vocabulary"
        "The tokenizer and the embedding table are not of the same vocabulary.";
    SpecialIds "CK043" "special-ids"
        "A special token has another id than Gemma's, or is missing: turns, tools or thoughts will not be \
         recognised.";
    NoChatTemplate "CK044" "no-chat-template"
        "There is no chat template: chat is refused, because a guessed template makes a model look broken. \
         Completion works.";
    StopSet "CK045" "stop-set"
        "The stop tokens lack the end of a turn, so that chat generation does not stop, or hold an id that is \
         plain text.";
    Bos "CK046" "bos-handling"
        "Every sequence must begin with exactly one BOS. Without it Gemma repeats itself; with two it is worse \
         than it need be.";
    TemplateFamily "CK047" "chat-template-of-other-family"
        "The chat template writes the markers of the other Gemma generation.";
    DrafterUnreadable "CK060" "drafter-unreadable"
        "The drafter's files cannot be read.";
    DrafterBackbone "CK061" "drafter-backbone-width"
        "The drafter was made for a target of another width.";
    DrafterTarget "CK062" "drafter-wrong-target"
        "Heads, head widths, window or vocabulary of the drafter are not the target's, whose cache it reads.";
    DrafterOrdering "CK063" "drafter-token-ordering"
        "token_ordering must name every token exactly once. A token that is missing can never be drafted, one \
         that stands twice is searched twice.";
    DrafterNumerics "CK064" "drafter-other-numerics"
        "Hardly a draft is accepted. Usual causes: a drafter of another checkpoint, or one made for other \
         numerics (bf16 against int4), or a hidden state taken before the final norm.";
    DoesNotLoad "CK070" "does-not-load"
        "The engine refuses the checkpoint for a reason that no other diagnostic names.";
    NonFiniteLogits "CK071" "non-finite-logits"
        "Running a few tokens gives NaN or infinity.";
    FlatSoftmax "CK072" "flat-softmax"
        "Predictions are hardly better than guessing: perplexity on plain text is near the vocabulary size. A \
         wrong attention scale, norm convention or rotation does this, and so do random weights.";
    ValueNorm "CK073" "unnormalised-value"
        "Values in the cache do not have unit root mean square. Gemma 4 normalises values with a norm that has \
         no weight, so that no tensor hints at it; without it text collapses within some twenty tokens.";
    GgufHeader "CK080" "gguf-unreadable"
        "The GGUF file cannot be read.";
    GgufRope "CK081" "gguf-rope-freqs"
        "rope_freqs.weight must be 1 for the rotated quarter and 1e30 for the rest of a Gemma 4 full layer.";
    GgufCount "CK082" "gguf-tensor-count"
        "The number of tensors is not that of a whole model.";
}

impl Code {
    /// The code with this id, in either case.
    pub fn parse(id: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(id))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
